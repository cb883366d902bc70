"""Pictures, with matplotlib (extra ``plot``)."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm.checkpoint import write_atomically
from minillm.errors import MissingExtra


def learning_curve(path: Path, curve: Sequence[tuple[int, float]], uniform: float, optimal: float, title: str) -> None:
    """Draw exact J against the number of episodes, with the optimum and the uniform policy as lines.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    episodes, values = zip(*curve, strict=True)
    axes = _axes(uniform, optimal, title)
    axes.plot(episodes, values, marker="o", color="tab:blue", label=f"agent, at the end J = {values[-1]:.4f}")
    _finish(path, axes, "episodes played", "exact J (expected sum of rewards)")


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
    _finish(path, axes, "episodes played", "exact J (expected sum of rewards)")


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
    figure = _figure(7, 4.2)
    axes = figure.add_subplot()
    for name, points, style in (("training batch", train, {"linewidth": 0.6, "alpha": 0.6}), ("validation", validation, {"marker": "o"})):
        steps, losses = zip(*points, strict=True)
        axes.plot(steps, np.array(losses) / math.log(2), label=name, **style)
    for name, value in yardsticks.items():
        axes.axhline(value, color="grey", linestyle=":", linewidth=1)
        axes.annotate(f"{name} {value:.3f}", (0, value), fontsize=8, verticalalignment="bottom")
    axes.set_title(title)
    _finish(path, axes, "steps", "bits per character")


def attention(path: Path, weights: Sequence[np.ndarray], labels: Sequence[str]) -> None:
    """Draw attention weights: a row of pictures for each layer, one for each head; queries go down, keys to the right.

    Parameters
    ----------
    path : Path
    weights : sequence of ndarrays of shape (H, T, T)
        One for each layer.
    labels : sequence of T strings

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    H, T = weights[0].shape[:2]
    figure = _figure(2.6 * H, 2.6 * len(weights))
    for i, (axes, weight) in enumerate(zip(figure.subplots(len(weights), H, squeeze=False).ravel(), np.concatenate(weights), strict=True)):
        axes.imshow(weight, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(f"layer {i // H}, head {i % H}", fontsize=8)
        axes.set_xticks(range(T), labels, fontsize=5)
        axes.set_yticks(range(T), labels, fontsize=5)
    _write(path, figure)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("a picture", "matplotlib", "plot") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(uniform: float, optimal: float, title: str) -> Any:
    axes = _figure(7, 4.2).add_subplot()
    axes.axhline(optimal, color="black", linestyle="--", linewidth=1, label=f"optimum J* = {optimal:.4f}")
    axes.axhline(uniform, color="grey", linestyle=":", linewidth=1.5, label=f"uniform policy, J = {uniform:.4f}")
    axes.set_title(title)
    return axes


def _finish(path: Path, axes: Any, across: str, up: str) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.legend(loc="best")
    _write(path, axes.figure)


def _write(path: Path, figure: Any) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())
