"""`minillm envs`: the environments and their exact facts."""

from __future__ import annotations

import argparse
import json
from typing import Any

from minillm.worlds import load_envs


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("envs", help="the environments and their exact facts")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the cards."""
    envs = load_envs()
    cards = envs.cards()
    print(json.dumps(cards, indent=2) if options.json else envs.facts.table(cards))
    return 0
