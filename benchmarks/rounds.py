"""Sides that do the same work, timed in alternating rounds: the median of each, and the median of the ratio."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

Made = TypeVar("Made")
TURN = 0.3  # seconds that a turn of one side lasts at least, most of it with its own data in the caches, as in a run; calls are repeated
FEWEST, MOST = 3, 15  # rounds
UNITS: dict[str, Callable[[float], float]] = {
    "ms": lambda seconds: 1e3 * seconds, "s": lambda seconds: seconds, "steps/s": lambda seconds: 1 / seconds, "MB": lambda size: size,
    "": lambda number: number,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Side:
    """A call, and how many units of work it does."""

    call: Callable[[], object]
    units: float = 1


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table: we against one peer, or which peer is missing and why.

    ``ratio`` is peer ÷ ours (how many times we are faster), at least ``aim``; where ``multiple`` is set it is ours ÷ peer, at most
    ``aim``.
    """

    case: str
    peer: str
    ours: float | None = None
    theirs: float | None = None
    unit: str = "ms"
    ratio: float | None = None
    aim: float | None = None
    multiple: bool = False
    rounds: int = 0
    missing: str | None = None

    @property
    def verdict(self) -> str:
        """Whether the aim is met, "" where there is none."""
        if self.ratio is None or self.aim is None:
            return ""
        return "met" if (self.ratio <= self.aim if self.multiple else self.ratio >= self.aim) else "missed"


def present(makers: Mapping[str, Callable[[], Made]], wanted: Sequence[str] = ()) -> tuple[dict[str, Made], dict[str, str]]:
    """Make each peer; return those that are there, and why the others are not. ``wanted`` keeps names that hold one of these words."""
    made, missing = {}, {}
    for name, make in makers.items():
        if wanted and not any(word.casefold() in name.casefold() for word in wanted):
            continue
        try:
            made[name] = make()
        except ModuleNotFoundError as error:
            missing[name] = f"{error.name or error} is not installed (pip install '.[bench]')"
    return made, missing


def alternate(sides: Mapping[str, Side], seconds: float) -> dict[str, list[float]]:
    """Return the seconds a unit of each side in each round; as many rounds as fit into ``seconds``, within limits."""
    number, cost = {}, 0.0
    for name, side in sides.items():
        side.call()  # compiles, reserves memory, fills caches
        once = _turn(side, 1)
        number[name] = max(1, math.ceil(TURN / once))
        cost += once * number[name]
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(min(MOST, max(FEWEST, int(seconds / cost)))):
        for name, side in sides.items():
            times[name].append(_turn(side, number[name]) / side.units)
    return times


def _turn(side: Side, number: int) -> float:
    """Seconds a call, of ``number`` calls one after the other."""
    begin = time.perf_counter()
    for _ in range(number):
        side.call()
    return (time.perf_counter() - begin) / number


def repeat(seconds: float, most: int) -> Iterator[int]:
    """Yield 0, 1, … while there is time for one more round, at least once: for work that is too long for :func:`alternate`."""
    begin = time.perf_counter()
    for number in range(most):
        spent = time.perf_counter() - begin
        if number and spent * (number + 1) / number > seconds:
            return
        yield number


def row(
    case: str, peer: str, ours: Sequence[float], theirs: Sequence[float], *,
    aim: float | None = None, unit: str = "ms", multiple: bool = False,
) -> Row:  # fmt: skip
    """Return the line of two columns of measurements that were taken round by round."""
    ratio = statistics.median(a / b if multiple else b / a for a, b in zip(ours, theirs, strict=True))
    mine, other = (UNITS[unit](statistics.median(column)) for column in (ours, theirs))
    return Row(case, peer, mine, other, unit, ratio, aim, multiple, len(ours))


def compare(
    case: str, ours: Side, peers: Mapping[str, Side], aims: Mapping[str, float], seconds: float, unit: str = "ms"
) -> list[Row]:
    """Alternate us and all peers; return a line for each peer."""
    times = alternate({"": ours, **peers}, seconds)
    return [row(case, name, times[""], times[name], aim=aims.get(name), unit=unit) for name in peers]


def absent(case: str, missing: Mapping[str, str]) -> list[Row]:
    """Return lines that say which peers are missing."""
    return [Row(case, name, missing=why) for name, why in missing.items()]
