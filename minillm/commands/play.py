"""`minillm play`: replay a trained agent, step by step as text."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from minillm.commands.arguments import count, seed


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("play", help="replay a trained agent, step by step as text")
    parser.add_argument("run", type=Path, help="a directory that minillm train made")
    parser.add_argument("--episodes", type=count, default=1)
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--temperature", type=float, default=None, help="0 takes the most probable character (that of the run)")
    parser.add_argument("--top-k", type=int, default=None)
    parser.add_argument("--top-p", type=float, default=None)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print episodes as they are played."""
    from minillm import report
    from minillm.run import load_run

    agent, mdp, _ = load_run(options.run)
    given = {name: getattr(options, name) for name in ("temperature", "top_k", "top_p") if getattr(options, name) is not None}
    agent.sampling = dataclasses.replace(agent.sampling, **given)
    for text in report.stream(agent, mdp, options.seed, options.episodes):
        print(text, flush=True)
    return 0
