"""The command line: names of entries and what they run with."""

from __future__ import annotations

import argparse
from pathlib import Path

TABLE = ("train", "reinforce", "logprobs", "generate", "import", "agent", "memory", "hot", "envs")  # what runs when none is named


def names() -> dict[str, str]:
    """Return the entries and their modules: those of this directory that have ``main``; a name that Python keeps ends in ``_``."""
    here = Path(__file__).parent
    stems = sorted(path.stem for path in here.glob("*.py") if path.stem[0] != "_" and "\ndef main(" in path.read_text("utf-8"))
    return {stem.rstrip("_"): f"benchmarks.{stem}" for stem in stems}


def comma(text: str) -> list[str]:
    """Return the words of a list with commas."""
    return [word for word in text.split(",") if word]


def thread_counts(text: str) -> list[int]:
    """Return the thread counts that ``1,2`` spells."""
    counts = [int(word) for word in comma(text)]
    if not counts or min(counts) < 1:
        raise ValueError(text)
    return counts


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; a wrong name is an error with status 2."""
    known = names()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Time minillm and its peers in alternating rounds, from the same parameters and inputs."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)} (without one: {', '.join(TABLE)})")
    parser.add_argument("--threads", type=thread_counts, default=[1], help="cores to use, or several: 1,2 (1); each in its own process")
    parser.add_argument("--json", action="store_true", help="one JSON object for each entry and number of threads")
    parser.add_argument("--shapes", type=comma, default=[], help="of micro, tiny, small, tiny-256 (those of the entry)")
    parser.add_argument("--peers", type=comma, default=[], help="only peers whose names hold one of these words: eager,jax")
    parser.add_argument("--seconds", type=float, default=20.0, help="for the rounds of one case; three rounds are the least (20)")
    parser.add_argument("--updates", type=int, default=None, help="agent, fit: so many updates instead of whole runs")
    parser.add_argument("--plot", default=None, metavar="FILE", help="sweep: draw the picture too")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in known:
            parser.error(f"there is no entry {name!r}; there are {', '.join(known)}")
    options.names = options.names or list(TABLE)
    return options
