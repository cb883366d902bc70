"""`minillm play`: replay a trained agent, step by step as text."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minillm.commands.arguments import count, seed


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("play", help="replay a trained agent, step by step as text")
    parser.add_argument("run", type=Path, help="a directory that minillm train made")
    parser.add_argument("--episodes", type=count, default=1)
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--temperature", type=float, default=1.0, help="0 takes the most probable character")
    parser.add_argument("--top-k", type=int, default=None)
    parser.add_argument("--top-p", type=float, default=None)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print episodes as they are played."""
    from minillm import report
    from minillm.decoding import Sampling
    from minillm.run import load_run

    agent, mdp, _ = load_run(options.run)
    agent.sampling = Sampling(options.temperature, options.top_k, options.top_p)
    for text in report.stream(agent, mdp.id, options.seed, options.episodes):
        print(text, flush=True)
    return 0
