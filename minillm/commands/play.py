"""`minillm play`: watch a trained agent act: the characters that it writes, the rewards, and what is exact of each state."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from minillm.commands.arguments import count, seconds, seed


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("play", help="watch a trained agent act, step by step")
    parser.add_argument("run", type=Path, help="a directory that minillm train made")
    parser.add_argument("--episodes", type=count, default=1)
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--temperature", type=float, default=None, help="0 takes the most probable character (that of the run)")
    parser.add_argument("--top-k", type=int, default=None)
    parser.add_argument("--top-p", type=float, default=None)
    parser.add_argument("--pause", type=seconds, default=0.5, metavar="S", help="seconds of a step on a terminal (0.5)")
    parser.add_argument("--fast", action="store_true", help="no pauses")
    parser.add_argument("--plain", action="store_true", help="one step below the other, as when the output is no terminal")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Show episodes as they are played: redrawn in place on a terminal, one step below the other elsewhere."""
    from minillm import report, watching
    from minillm.run import load_run

    agent, mdp, _ = load_run(options.run)
    given = {name: getattr(options, name) for name in ("temperature", "top_k", "top_p") if getattr(options, name) is not None}
    agent.sampling = dataclasses.replace(agent.sampling, **given)
    verdict = watching.judge(agent, mdp)
    if sys.stdout.isatty() and not options.plain:
        screen = watching.Screen(sys.stdout, shutil.get_terminal_size().columns)
        for turn in watching.turns(agent, mdp, options.seed, options.episodes):
            _watch(screen, turn, verdict(turn), 0.0 if options.fast else options.pause)
        return 0
    for text in report.stream(agent, mdp, options.seed, options.episodes, lambda turn: watching.described(turn, verdict(turn))):
        print(text, flush=True)
    return 0


def _watch(screen: Any, turn: Any, verdict: Any, pause: float) -> None:
    from minillm.watching import frames

    for frame in frames(turn, verdict):
        screen.show(frame)
        time.sleep(pause / (len(turn.tokens) + 2))
    time.sleep(pause)
    if turn.ending:
        screen.keep()
