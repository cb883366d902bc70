"""Learning curves: exact J against episodes, loss against steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm.plots.figure import finish, new_figure


def learning_curve(path: Path, curve: Sequence[tuple[int, float]], uniform: float, optimal: float | None, title: str) -> None:
    """Draw exact J against the number of episodes, with the optimum and the uniform policy as lines; sampled J if there is no optimum.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    episodes, values = zip(*curve, strict=True)
    axes = _axes(uniform, optimal, title)
    axes.plot(episodes, values, marker="o", color="tab:blue", label=f"agent, at the end J = {values[-1]:.4f}")
    kind = "exact J (expected sum of rewards)" if optimal is not None else "sampled J (mean sum of rewards)"
    finish(path, axes, "episodes played", kind)


def learning_curves(
    path: Path, episodes: Sequence[int], bands: dict[str, tuple[np.ndarray, np.ndarray]], uniform: float, optimal: float, title: str
) -> None:
    """Draw exact J of several methods: each one's mean over seeds and, where there is one, the confidence band around it.

    Parameters
    ----------
    path : Path
    episodes : sequence of n int
    bands : dict of str to two ndarrays of shape (n,)
        Mean and half-width of each method; NaN where there is no band.
    uniform, optimal : float
    title : str

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    axes = _axes(uniform, optimal, title)
    markers = itertools.cycle("os^Dv*")  # methods differ without colour, too
    for name, (mean, half) in bands.items():
        (line,) = axes.plot(episodes, mean, marker=next(markers), markersize=5, label=f"{name}, at the end J = {mean[-1]:.4f}")
        axes.fill_between(episodes, mean - half, mean + half, color=line.get_color(), alpha=0.2, linewidth=0)
    finish(path, axes, "episodes played", "exact J (expected sum of rewards)")


def loss_curve(
    path: Path,
    train: Sequence[tuple[int, float]],
    validation: Sequence[tuple[int, float]],
    yardsticks: Mapping[str, float],
    title: str,
) -> None:
    """Draw losses, given in nats, in bits per character against steps, with the yardsticks as lines.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    figure = new_figure(7, 4.2)
    axes = figure.add_subplot()
    for name, points, style in (("training batch", train, {"linewidth": 0.6, "alpha": 0.6}), ("validation", validation, {"marker": "o"})):
        steps, losses = zip(*points, strict=True)
        axes.plot(steps, np.array(losses) / math.log(2), label=name, **style)
    for name, value in yardsticks.items():
        axes.axhline(value, color="grey", linestyle=":", linewidth=1)
        axes.annotate(f"{name} {value:.3f}", (0, value), fontsize=8, verticalalignment="bottom")
    axes.set_title(title)
    finish(path, axes, "steps", "bits per character")


def _axes(uniform: float, optimal: float | None, title: str) -> Any:
    axes = new_figure(7, 4.2).add_subplot()
    if optimal is not None:
        axes.axhline(optimal, color="black", linestyle="--", linewidth=1, label=f"optimum J* = {optimal:.4f}")
    axes.axhline(uniform, color="grey", linestyle=":", linewidth=1.5, label=f"uniform policy, J = {uniform:.4f}")
    axes.set_title(title)
    return axes
