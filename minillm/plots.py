"""Pictures, with matplotlib (extra ``plot``)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from minillm.checkpoint import write_atomically
from minillm.errors import MissingExtra


def learning_curve(path: Path, curve: Sequence[tuple[int, float]], uniform: float, optimal: float, title: str) -> None:
    """Draw exact J against the number of episodes, with the optimum and the uniform policy as lines.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("a picture", "matplotlib", "plot") from None
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    episodes, values = zip(*curve, strict=True)
    axes.axhline(optimal, color="black", linestyle="--", linewidth=1, label=f"optimum J* = {optimal:.4f}")
    axes.axhline(uniform, color="grey", linestyle=":", linewidth=1.5, label=f"uniform policy, J = {uniform:.4f}")
    axes.plot(episodes, values, marker="o", color="tab:blue", label=f"agent, at the end J = {values[-1]:.4f}")
    axes.set_xlabel("episodes played")
    axes.set_ylabel("exact J (expected sum of rewards)")
    axes.set_title(title)
    axes.legend(loc="best")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())
