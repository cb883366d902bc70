"""`minillm coefficients`: the first tokens on which two methods differ."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from minillm.commands.arguments import count


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("coefficients", help="the first tokens on which the coefficients of two runs differ")
    parser.add_argument("a", type=Path, metavar="A", help="a run of `minillm train --save-coefficients`, or its file")
    parser.add_argument("b", type=Path, metavar="B")
    parser.add_argument("--show", type=count, default=10, metavar="N", help="how many tokens (10)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print how many tokens differ, and the first of them; exit status 1 if any does."""
    from minillm.saved_coefficients import compare, read_coefficients

    found = compare(read_coefficients(options.a), read_coefficients(options.b), options.show)
    print(f"A: {options.a}\nB: {options.b}")
    print(
        f"{found.tokens} tokens in both; the coefficient is 0 on {found.zeros[0]} of them in A, on {found.zeros[1]} in B; "
        f"{found.different} differ"
    )
    if found.parted is not None:
        print("compared up to update {}, epoch {}, episode {}, step {}, where the two played differently".format(*found.parted))
    if found.first:
        print(f"{'update':>6} {'epoch':>5} {'episode':>7} {'step':>4} {'token':>5}  {'':14}{'A':>13} {'B':>13}  action")
    for a, b, t in found.first:
        update, epoch, episode, step = a.key
        print(
            f"{update:>6} {epoch:>5} {episode:>7} {step:>4} {t:>5}  {a.token(t):14}{_text(a.c[t]):>13} {_text(b.c[t]):>13}  {a.action!r:.30}"
        )
    return 1 if found.different else 0


def _text(c: np.ndarray) -> str:
    """A coefficient; of a dense one the largest."""
    return f"{float(c.flat[np.abs(c).argmax()]):.6g}"
