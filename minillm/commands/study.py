"""`minillm study`: train for every combination of environments, options and seeds, on one machine or many."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minillm.commands.train import EXECUTOR, OPTIONS
from minillm.errors import UserError

SEEDS = "0:20, or a number of seeds, or 3,5,7"


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("study", help="train for every combination of environments, options and seeds")
    parser.add_argument("what", nargs="?", default=None, metavar="FILE.toml | ENV,ENV", help="a study, or environments (grid/empty-5)")
    parser.add_argument("--seeds", default=None, metavar="A:B", help=f"{SEEDS} (1)")
    parser.add_argument("--estimator", default=None, metavar="NAME,NAME", help="a name each, or several joined by + (state_rloo)")
    parser.add_argument("--env-option", action="append", default=[], metavar="NAME=VALUE,VALUE", help="an option of the environments")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="the study's directory (a new one below runs/)")
    parser.add_argument("--overwrite", action="store_true", help="delete the study that DIR holds")
    parser.add_argument("--resume", type=Path, default=None, metavar="DIR", help="run what is missing of the study in DIR")
    parser.add_argument("--executor", default=None, metavar="WHERE", help=EXECUTOR.format("process"))
    for name, (kind, meaning) in OPTIONS.items():
        parser.add_argument("--" + name.replace("_", "-"), type=several(kind), default=None, metavar="VALUE,VALUE", help=meaning)
    parser.set_defaults(command=run)


def several(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Return a reader of one or more values, with commas between, for argparse."""

    def read(text: str) -> list[Any]:
        return [kind(part) for part in text.split(",")]

    return read


def run(options: argparse.Namespace) -> int:
    """Run what is missing, print the table and what failed; exit status 1 if a run failed."""
    from minillm.checkpoint import fresh_directory
    from minillm.study import make_study, read_study, resume_study

    if options.resume is not None and (options.out is not None or options.overwrite):
        raise UserError("--resume DIR goes on in DIR; leave --out and --overwrite out")
    file = Path(options.what) if options.what is not None and options.what.endswith(".toml") else None
    given = (read_study(file) if file else {}) | _given(options, file is None)
    if options.resume is not None:
        study = resume_study(options.resume, given, complete=file is not None)
        return carry_out(study, options.resume, options.executor, resume=True)
    label = file.stem if file else "-".join(given.get("env", ["study"])).replace("/", "-")
    return carry_out(make_study(given), options.out or fresh_directory(Path("runs") / label), options.executor, overwrite=options.overwrite)


def carry_out(study: Any, directory: Path, where: str | None, *, resume: bool = False, overwrite: bool = False) -> int:
    """Run a study and show it."""
    from minillm import study_table
    from minillm.study import run_study
    from minillm.threads import recycle_memory

    recycle_memory()
    outcome = run_study(study, directory, where, resume=resume, overwrite=overwrite)
    study_table.write(study, outcome.results, directory)
    print(study_table.text(study, outcome.results))
    print(f"study: {directory}   (runs.csv, table.csv; minillm study --resume {directory})")
    for key, error in outcome.errors.items():
        print(f"minillm: {key} failed: {error}", file=sys.stderr)
    return 1 if outcome.errors else 0


def _given(options: argparse.Namespace, environments: bool) -> dict[str, Any]:
    """What the command line says, as in a study's file."""
    from minillm.train_config import read_options

    given = {name: getattr(options, name) for name in ("seeds", *OPTIONS)}
    given["env"] = options.what.split(",") if environments and options.what else None
    given["estimator"] = options.estimator.split(",") if options.estimator else None
    read: dict[str, list[Any]] = {}
    for pair in options.env_option:
        name, equals, values = pair.partition("=")
        read[name] = [read_options([name + equals + value])[name] for value in values.split(",")]
    given["env_options"] = read or None
    return {name: value for name, value in given.items() if value is not None}
