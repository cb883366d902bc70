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
    """Print exact J and the optimum; J as it is sampled where there is no table."""
    from minillm.played_world import sampled_value, spelled
    from minillm.run import exact_value, load_run
    from minillm.worlds import has_table, title

    agent, mdp, facts = load_run(options.run)
    name = title(mdp.id, facts.get("env_options", {}))
    if not has_table(mdp):
        print(f"sampled J of {name}: {spelled(sampled_value(agent, mdp, 0))}   (there is no table, and so no exact J)")
        return 0
    print(f"exact J of {name}: {exact_value(agent, mdp)!r}   (optimum {mdp.solve().J!r})")
    return 0
