"""`minillm estimators`: what every policy-gradient estimator estimates, by enumeration."""

from __future__ import annotations

import argparse
import json
from typing import Any

GROUPS = (2, 3, 4)


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("estimators", help="what every policy-gradient estimator estimates, proved by enumeration")
    parser.add_argument("--group", type=int, choices=GROUPS, default=2, metavar="G", help="episodes in a group: 2, 3 or 4")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the table; exit status 1 if a label is not proved."""
    from minillm.estimators import ESTIMATORS
    from minillm.lab import estimators
    from minillm.progress import Progress

    with Progress("estimators", len(ESTIMATORS), "estimator") as progress:
        rows = estimators.rows(options.group, on_row=lambda row: progress.update(name=row.name))
    if options.json:
        print(json.dumps(estimators.as_json(rows, options.group), indent=2, ensure_ascii=False))
    else:
        print(estimators.table(rows, options.group))
    return 0 if all(row.proved for row in rows) else 1
