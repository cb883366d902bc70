"""`minillm explain`: the lesson on an operation, an estimator, the model, printed and run on a tiny input."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("explain", help="the maths of an operation, the model or an estimator, run on a tiny input")
    parser.add_argument("name", nargs="?", metavar="NAME", help="attention, rloo, complex_step, … (none: list all lessons)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the list of lessons, or one of them."""
    from minillm import lessons

    print(lessons.contents() if options.name is None else lessons.find(options.name).text())
    return 0
