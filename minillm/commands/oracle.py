"""`minillm oracle`: exact test cases as .npz files, for any other framework."""

from __future__ import annotations

import argparse
from typing import Any

from minillm.errors import UserError


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("oracle", help="exact test cases as .npz files, for any other framework")
    parser.add_argument("what", nargs="+", metavar="DIR | compare DIR YOURS.npz", help="write cases to DIR, or compare with them")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Write the cases, or compare; exit status 1 if an array differs."""
    from minillm.lab import oracle

    if options.what[0] == "compare" and len(options.what) == 3:
        rows = oracle.compare(*options.what[1:])
        print(oracle.report(rows))
        return 0 if oracle.first_wrong(rows) is None else 1
    if len(options.what) != 1:
        raise UserError("oracle takes DIR, or compare DIR YOURS.npz")
    for path in oracle.write(options.what[0]):
        print(path)
    return 0
