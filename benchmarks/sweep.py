"""How the cost of a training step grows with B, T and width, each changed alone around the shape tiny; `--plot FILE` draws it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from benchmarks import limit, train
from benchmarks.report import show
from benchmarks.rounds import Row
from benchmarks.shapes import SHAPES, Shape, chosen
from benchmarks.steps import compare_steps
from minillm.threads import recycle_memory

AXES = {"B": (1, 3, 12, 48), "T": (16, 64, 128, 256), "width": (32, 64, 128, 256)}


def cases(shape: Shape) -> Iterator[tuple[str, int, Shape]]:
    """Yield the name of what is changed, its value, and the shape."""
    for axis, values in AXES.items():
        for value in values:
            yield axis, value, dataclasses.replace(shape, **{axis: value})


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the lines, shape by shape."""
    for name in chosen(options.shapes, ["tiny"]):
        for axis, value, shape in cases(SHAPES[name]):
            case, task = f"{name}, {axis} = {value}", train.task(shape)
            yield from compare_steps(case, shape.model, task, {}, options.seconds / 10, options.peers or ["torch eager"])
            yield from limit.compare(case, shape, task, options.seconds / 10)


def draw(path: Path, found: list[Row]) -> None:
    """Write a picture with a panel for each axis: milliseconds of a step, ours and each peer's."""
    from minillm.plots import figure

    picture = figure.new_figure(11, 3.6)
    for axes, axis in zip(picture.subplots(1, len(AXES), sharey=True), AXES, strict=True):
        lines: dict[str, dict[int, float | None]] = {}
        for row in found:
            changed, _, value = row.case.rpartition(" = ")
            if changed.endswith(f" {axis}") and row.theirs is not None:
                lines.setdefault("minillm", {})[int(value)] = row.ours
                lines.setdefault(row.peer, {})[int(value)] = row.theirs
        for (name, points), style in zip(lines.items(), ("o-", "s--", "^:", "v-.", "D--"), strict=False):
            axes.loglog(list(points), list(points.values()), style, label=name)
        axes.set_xlabel(axis)
        axes.set_xticks(AXES[axis], [str(value) for value in AXES[axis]])
        axes.minorticks_off()
    picture.axes[0].set_ylabel("a training step, ms")
    picture.axes[0].legend(loc="best", fontsize="small")
    figure.write(path, picture)


def main(options: argparse.Namespace) -> None:
    """Print the table, and draw the picture if asked to."""
    recycle_memory()
    found: list[Row] = []

    def kept() -> Iterator[Row]:
        for row in rows(options):
            found.append(row)
            yield row

    show(options, "sweep", "a training step as B, T and width grow, medians of alternating rounds", kept())
    if options.plot is not None:
        draw(Path(options.plot), found)
