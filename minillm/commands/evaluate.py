"""`minillm evaluate`: exact J of a trained agent, from its checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("evaluate", help="exact J of a trained agent, from its checkpoint")
    parser.add_argument("run", type=Path)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print exact J and the optimum."""
    from minillm.run import exact_value, load_run
    from minillm.worlds import title

    agent, mdp, facts = load_run(options.run)
    print(f"exact J of {title(mdp.id, facts.get('env_options', {}))}: {exact_value(agent, mdp)!r}   (optimum {mdp.solve().J!r})")
    return 0
