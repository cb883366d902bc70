"""`minillm train`: the main job: collect, fit, act, improve."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minillm.commands.arguments import count, seed
from minillm.errors import MissingExtra
from minillm.returns import BASELINES

OPTIONS: dict[str, Callable[[str], Any]] = {
    "collect_episodes": count, "fit_steps": count, "fit_lr": float, "improve_steps": count, "improve_episodes": count,
    "improve_lr": float, "n_embd": count, "n_layer": count, "n_head": count,
}  # fmt: skip


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("train", help="the main job: collect, fit, act, improve")
    parser.add_argument("env", nargs="?", default=None, metavar="ENV", help="an environment (grid/empty-5)")
    parser.add_argument("--seed", type=seed, default=None)
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="run directory (a new one below runs/)")
    parser.add_argument("--overwrite", action="store_true", help="delete the run that DIR holds")
    parser.add_argument("--baseline", choices=BASELINES, default=None)
    for name, kind in OPTIONS.items():
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=None)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Train, print the table, three episodes and where the run lies."""
    from minillm import checkpoint, report
    from minillm.run import Run, TrainConfig
    from minillm.threads import recycle_memory

    recycle_memory()
    chosen = {f.name: getattr(options, f.name, None) for f in dataclasses.fields(TrainConfig)}
    config = TrainConfig(**{name: value for name, value in chosen.items() if value is not None})
    default = Path("runs") / f"{config.env.replace('/', '-')}-seed{config.seed}"
    out = options.out or checkpoint.fresh_directory(default)
    training = Run(config, out)  # first: a wrong configuration neither leaves a directory behind nor deletes an old run
    checkpoint.prepare_directory(out, options.overwrite)
    summary = training.execute()
    print(report.table(summary))
    print(report.episodes(training.agents[0], config.env, seed=config.seed, episodes=3))
    try:
        report.picture(training, summary)
        print(f"learning curve: {out / 'curve.png'}")
    except MissingExtra as missing:
        print(f"no curve.png: {missing}")
    print(f"run: {out}   (minillm play {out}, minillm evaluate {out})")
    return 0
