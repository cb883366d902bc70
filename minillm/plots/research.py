"""Pictures for gradient research: who catches which wrong gradient, bias and variance, step sizes, distributions, a landscape."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm.plots.figure import finish, new_figure, write

LEAST = 1e-18  # what is zero is drawn here on a logarithmic axis


def kill_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw which checker (a row) kills which wrong gradient (a column), the smallest error on the left, controls at the right.

    Parameters
    ----------
    path : Path
    rows : sequence of dict
        From :func:`minillm.lab.mutants.rows`.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    rows = sorted(rows, key=lambda row: (row["equivalent"], row["relative_error"]))
    checkers = list(rows[0]["killed"])
    wrong = sum(not row["equivalent"] for row in rows)
    figure = new_figure(14, 5)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    top.semilogy([max(row["relative_error"], LEAST) for row in rows], "k.", markersize=4)
    top.set_ylabel("relative error")
    image = below.imshow([[row["killed"][name] for row in rows] for name in checkers], cmap="Greys", vmin=0, vmax=1, aspect="auto")
    below.set_yticks(range(len(checkers)), checkers)
    below.set_xlabel(f"{wrong} wrong gradients, by their error; right of the line {len(rows) - wrong} controls, which must survive")
    for axes in (top, below):
        axes.axvline(wrong - 0.5, color="black", linewidth=1)
    figure.colorbar(image, ax=below, label="share of draws\nthat reject it")
    figure.suptitle("What each gradient checker rejects")
    write(path, figure)


def bias_and_variance(path: Path, rows: Sequence[Any], G: int) -> None:
    r"""Draw, for each estimator, how far $E[\hat g]$ is from ∇J, and its variance.

    Parameters
    ----------
    path : Path
    rows : sequence of minillm.lab.estimators.Row
    G : int
        Episodes in a group.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    rows = sorted(rows, key=lambda row: (row.error > 1e-12, row.variance if row.error <= 1e-12 else row.error))
    figure = new_figure(11, 0.22 * len(rows) + 1.6)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, values, label in (
        (left, [row.error for row in rows], "‖E[ĝ] − ∇J‖ / ‖∇J‖"),
        (right, [row.variance for row in rows], "trace of the covariance × number of episodes"),
    ):
        for y, (row, value) in enumerate(zip(rows, values, strict=True)):
            marker = "o" if row.error <= 1e-12 else "x"
            axes.plot(max(value, LEAST), y, color="black", marker=marker, fillstyle="none", linestyle="")
        axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.grid(axis="y", linewidth=0.3)
    left.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=7)
    left.margins(y=0.02)
    left.invert_yaxis()
    figure.suptitle(f"Estimators on the published bed, groups of {G}: o estimates ∇J, x estimates something else")
    write(path, figure)


def step_sizes(path: Path, steps: np.ndarray, errors: Mapping[str, np.ndarray]) -> None:
    """Draw relative errors (n,) of derivatives by method against the step (n,), both logarithmic.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    axes = new_figure(7, 4.2).add_subplot()
    for (name, error), marker in zip(errors.items(), itertools.cycle("v^so"), strict=False):
        axes.loglog(steps, np.maximum(error, LEAST), marker=marker, markersize=4, linewidth=0.8, label=name)
    axes.set_title("Error of a directional derivative of the transformer's loss, float64")
    finish(path, axes, "step h", f"relative error (0 is drawn at {LEAST:g})")


def distributions(path: Path, found: Mapping[str, Any], G: int) -> None:
    r"""Draw the distribution of $\hat g\cdot\nabla J/\|\nabla J\|^2$ of estimators, one below the other, with mean and ∇J.

    Parameters
    ----------
    path : Path
    found : dict of str to minillm.lab.distribution.Along
    G : int

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    figure = new_figure(7, 1.7 * len(found) + 1)
    ends = [float(f(along.values[along.weights > 1e-6])) for along in found.values() for f in (np.min, np.max)]
    bins = np.linspace(min(ends), max(ends), 81)
    for axes, (name, along) in zip(figure.subplots(len(found), 1, sharex=True, squeeze=False).ravel(), found.items(), strict=True):
        axes.hist(along.values, bins=bins, weights=along.weights, color="0.6")
        axes.axvline(1, color="black", linewidth=1, label="∇J")
        label = f"mean {along.mean:.4f}, deviation {along.deviation:.3f}\ndownhill with probability {along.downhill:.3f}"
        axes.axvline(along.mean, color="black", linestyle="--", linewidth=1.5, label=label)
        axes.set_ylabel(f"{name}\nprobability")
        axes.legend(fontsize=7)
    axes.set_xlabel("ĝ·∇J / ‖∇J‖²")
    figure.suptitle(f"All batches of the published bed; groups of {G} where episodes are coupled")
    write(path, figure)


def landscape(path: Path, found: Any, optimal: float, title: str) -> None:
    """Draw a :class:`minillm.lab.landscape.Landscape`: J as levels, the path of learning from the circle to the star.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    axes = new_figure(7, 5.5).add_subplot()
    levels = axes.contourf(found.x, found.y, found.J, levels=20, cmap="Blues")
    lines = axes.contour(found.x, found.y, found.J, levels=levels.levels[::4], colors="black", linewidths=0.5)
    axes.clabel(lines, fontsize=7)
    axes.plot(*found.path.T, color="black", linewidth=1.5, label=f"exact gradient ascent: {found.inside:.0%} of its extent is in this plane")
    axes.plot(*found.path[0], "ko", fillstyle="none", label=f"start, J = {found.values[0]:.4f}")
    axes.plot(*found.path[-1], "k*", markersize=11, label=f"end, J = {found.values[-1]:.4f}; optimum {optimal:.4f}")
    axes.figure.colorbar(levels, ax=axes, label="exact J")
    axes.set_title(title)
    finish(path, axes, "first principal direction of the path (length in θ)", "second")
