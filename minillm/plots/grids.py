"""Maps of a grid: the policy as arrows, exact values as shades, visits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm.grid_maps import FLOOR, Room
from minillm.plots.figure import new_figure, write

WAYS = {"up": (0, 1), "down": (0, -1), "left": (-1, 0), "right": (1, 0), "north": (0, 1), "south": (0, -1), "west": (-1, 0), "east": (1, 0)}
SHADES = "Blues"
INCHES = 0.75  # a cell


def policy(path: Path, found: Sequence[Room], actions: Sequence[str], pi: np.ndarray, values: np.ndarray, title: str) -> None:
    r"""Draw rooms side by side: an arrow for each way to go, as long as its probability; $V(s)$ as shade and number.

    An action that is no way to go is written out where it is the most probable one.

    Parameters
    ----------
    path : Path
    found : sequence of Room
    actions : sequence of A strings
    pi : ndarray of shape (S, A)
    values : ndarray of shape (S,)
    title : str

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    rows, columns = found[0].picture.shape
    across = max(1, min(len(found), 24 // columns))
    down = math.ceil(len(found) / across)
    figure = new_figure(max(5.0, INCHES * columns * across + 1.5), INCHES * rows * down + 1)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    shown = np.concatenate([values[room.states] for room in found])
    for axes, room in zip(panels, found, strict=False):
        image = _shades(axes, room.spread(values), shown.min(), shown.max(), 3)
        _background(axes, room.picture)
        _arrows(axes, room, actions, pi)
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=list(panels), label="exact V(s): expected sum of rewards to come")
    figure.suptitle(title)
    write(path, figure)


def visits(path: Path, picture: np.ndarray, expected: np.ndarray, title: str) -> None:
    """Draw the expected number of visits (rows, columns) of each cell as shade and number; NaN where the agent cannot be.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    rows, columns = expected.shape
    figure = new_figure(max(5.0, INCHES * columns + 1.5), INCHES * rows + 1)
    axes = figure.subplots()
    image = _shades(axes, expected, 0, np.nanmax(expected), 3)
    _background(axes, picture)
    figure.colorbar(image, ax=axes, label="expected visits in one episode")
    figure.suptitle(title)
    write(path, figure)


def _shades(axes: Any, values: np.ndarray, low: float, high: float, digits: int) -> Any:
    """Shade each cell and write its number in a corner, in black or white, whichever can be read."""
    image = axes.imshow(values, cmap=SHADES, vmin=low, vmax=high if high > low else low + 1)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            dark = value > low + 0.6 * (high - low)
            axes.text(column - 0.47, row + 0.46, f"{value:.{digits}g}", fontsize=6, va="bottom", color="white" if dark else "black")
    axes.set_xticks([])
    axes.set_yticks([])
    return image


def _background(axes: Any, picture: np.ndarray) -> None:
    for (row, column), character in np.ndenumerate(picture):
        if character != FLOOR:
            axes.text(column, row, character, fontsize=13, ha="center", va="center", color="black", weight="bold")


def _arrows(axes: Any, room: Room, actions: Sequence[str], pi: np.ndarray) -> None:
    ways = [a for a, name in enumerate(actions) if name in WAYS]
    rows, columns = np.repeat(room.cells, len(ways), axis=0).T
    p = pi[room.states][:, ways].ravel()
    x, y = np.tile([WAYS[actions[a]] for a in ways], (len(room.states), 1)).T * p
    axes.quiver(
        columns, rows, 0.42 * x, -0.42 * y, angles="xy", scale_units="xy", scale=1, width=0.04, units="xy",
        headwidth=3.5, headlength=4, headaxislength=3.5, minlength=0, color="black", edgecolor="white", linewidth=0.5,
    )  # fmt: skip
    for state, (row, column) in zip(room.states, room.cells, strict=True):
        best = int(pi[state].argmax())
        if best not in ways:
            axes.text(column, row - 0.3, actions[best], fontsize=7, ha="center", va="center", color="black", style="italic")
