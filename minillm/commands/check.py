"""`minillm check`: measure every gate that a gradient must hold."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("check", help="measure every gate that a gradient must hold")
    parser.add_argument("--mutants", action="store_true", help="the kill table: which checker catches which wrong gradient")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the gates, or the kill table; exit status 1 if a gate does not hold."""
    from minillm.lab import gates, mutants
    from minillm.progress import Progress

    if options.mutants:
        with Progress("mutants", len(mutants.CATALOGUE), "mutant") as progress:
            matrices = mutants.score_all(on_mutant=lambda mutant: progress.update())
        print(json.dumps(mutants.rows(matrices), indent=2) if options.json else mutants.table(matrices))
        return 0
    rows = gates.run(on_gate=lambda gate: print(f"{gate.gate}: {gate.measured:.1e}", file=sys.stderr))
    print(json.dumps([row.row() for row in rows], indent=2) if options.json else gates.table(rows))
    return 0 if all(row.ok for row in rows) else 1
