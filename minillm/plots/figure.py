"""A figure that needs no display, and its way to a file. All that the pictures know of matplotlib's set-up is here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from minillm.checkpoint import write_atomically
from minillm.errors import MissingExtra


def require_matplotlib() -> None:
    """Raise :class:`minillm.errors.MissingExtra` if there is no matplotlib: before long work whose end is a picture."""
    new_figure(1, 1)


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of that size in inches.

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
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(path: Path, axes: Any, across: str, up: str) -> None:
    """Name the axes, add the legend, and write the figure of ``axes``."""
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.legend(loc="best")
    write(path, axes.figure)


def write(path: Path, figure: Any) -> None:
    """Write a figure as PNG; the file is replaced whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())
