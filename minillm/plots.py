"""Pictures, with matplotlib (extra ``plot``)."""

from __future__ import annotations

import io
from collections.abc import Sequence
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
    _write(path, axes)


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
    for name, (mean, half) in bands.items():
        (line,) = axes.plot(episodes, mean, marker="o", markersize=4, label=f"{name}, at the end J = {mean[-1]:.4f}")
        axes.fill_between(episodes, mean - half, mean + half, color=line.get_color(), alpha=0.2, linewidth=0)
    _write(path, axes)


def _axes(uniform: float, optimal: float, title: str) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("a picture", "matplotlib", "plot") from None
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(optimal, color="black", linestyle="--", linewidth=1, label=f"optimum J* = {optimal:.4f}")
    axes.axhline(uniform, color="grey", linestyle=":", linewidth=1.5, label=f"uniform policy, J = {uniform:.4f}")
    axes.set_title(title)
    return axes


def _write(path: Path, axes: Any) -> None:
    axes.set_xlabel("episodes played")
    axes.set_ylabel("exact J (expected sum of rewards)")
    axes.legend(loc="best")
    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())
