"""Progress of long work on stderr: a bar when tqdm is installed, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """A context manager that reports how far a phase has come.

    Parameters
    ----------
    phase : str
    total : int
        Number of :meth:`update` calls to come.
    unit : str
        What one of them is.
    quiet : bool
        Print nothing.
    """

    LINES = 10  # plain lines a phase, at most, after the first

    def __init__(self, phase: str, total: int, unit: str = "step", quiet: bool = False) -> None:
        self.phase, self.total, self.unit, self.quiet = phase, total, unit, quiet
        self.done, self.start, self.bar = 0, time.perf_counter(), None

    def __enter__(self) -> Progress:
        if not self.quiet:
            self.bar = _tqdm(self.phase, self.total, self.unit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def say(self, text: str) -> None:
        """Print ``text`` on stderr without tearing the bar."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def update(self, **facts: Any) -> None:
        """One more is done; ``facts`` stand behind the bar."""
        self.done += 1
        if self.quiet:
            return
        text = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in facts.items())
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update()
        elif self.done == self.total or self.done % max(1, self.total // self.LINES) == 0:
            elapsed = time.perf_counter() - self.start
            left = elapsed / self.done * (self.total - self.done)
            print(
                f"{self.phase}: {self.done}/{self.total} {self.unit}s, {elapsed:.0f} s, {left:.0f} s left" + f", {text}" * bool(text),
                file=sys.stderr,
                flush=True,
            )


def _tqdm(phase: str, total: int, unit: str) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=phase, unit=unit, file=sys.stderr, mininterval=0.5, dynamic_ncols=True)
