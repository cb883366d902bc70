"""`minillm train`: the main job: collect, fit, act, improve; or, with --compare, the same with several estimators."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minillm.commands.arguments import count, seed
from minillm.errors import ON_NONFINITE, RunDirectoryError, UserError
from minillm.train_config import TrainConfig

EXECUTOR = "who computes: serial, process, process:N, tcp://host:port, mpi, package.module:factory (else MINILLM_EXECUTOR says; else {})"
OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "collect_episodes": (count, "episodes of the uniform policy, to fit to"),
    "fit_best": (float, "fit to this share of the steps taken in each state: those that paid most"),
    "fit_by": (str, "what of a step is said to pay: the step itself, or on average its action"),
    "fit_steps": (count, "updates of the fit"),
    "fit_lr": (float, "highest rate of the fit"),
    "improve_steps": (count, "updates along the policy gradient"),
    "improve_episodes": (count, "episodes played for each"),
    "improve_lr": (float, "highest rate of these updates"),
    "n_embd": (count, "width of the transformer"),
    "n_layer": (count, "number of its blocks"),
    "n_head": (count, "attention heads of each"),
    "epochs": (count, "steps of the optimizer on the episodes of one update"),
    "group": (count, "episodes that share their start"),
    "shards": (count, "parts that the episodes of one update are played in, by as many workers (--executor)"),
    "temperature": (float, "of the distribution that is sampled, differentiated and evaluated"),
    "top_k": (count, "its k largest logits alone"),
    "top_p": (float, "its most probable tokens alone, up to this sum"),
}


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("train", help="the main job: collect, fit, act, improve")
    parser.add_argument("env", nargs="?", default=None, metavar="ENV", help="an environment (grid/empty-5)")
    parser.add_argument("--env-option", action="append", default=[], metavar="NAME=VALUE", help="an option of the environment: slip=0")
    parser.add_argument("--seed", type=seed, default=None)
    parser.add_argument("--model", default=None, metavar="DIR", help="start from this GPT-2 checkpoint and its tokenizer")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="run directory (a new one below runs/)")
    parser.add_argument("--overwrite", action="store_true", help="delete the run that DIR holds")
    parser.add_argument("--estimator", default=None, metavar="NAME", help="a name, or several joined by + (state_rloo)")
    parser.add_argument("--compare", default=None, metavar="NAME,NAME", help="train with each of these estimators")
    parser.add_argument("--seeds", default=None, metavar="A:B", help="train with each of them: 0:20, or 3,5,7, or how many from --seed on")
    parser.add_argument("--executor", default=None, metavar="WHERE", help=EXECUTOR.format("threads; for several runs process"))
    parser.add_argument("--resume", type=Path, default=None, metavar="DIR", help="go on with a run from its last checkpoint")
    parser.add_argument("--on-nonfinite", choices=ON_NONFINITE, default=None, help="what follows a loss or gradient that is not (stop)")
    parser.add_argument("--tensorboard", action="store_true", help="write the metrics for TensorBoard, too")
    parser.add_argument("--save-coefficients", action="store_true", default=None, help="write coefficients.jsonl")
    for name, (kind, meaning) in OPTIONS.items():
        default = getattr(TrainConfig, name)
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=None, help=f"{meaning} ({default or 'all'})")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Train, print the table, three episodes and where the run lies."""
    from minillm import checkpoint, recipes
    from minillm.run import Run
    from minillm.threads import recycle_memory
    from minillm.train_config import read_options

    recycle_memory()
    chosen = {f.name: getattr(options, f.name, None) for f in dataclasses.fields(TrainConfig)}
    if options.model is not None and any(chosen[name] is not None for name in ("n_embd", "n_layer", "n_head")):
        raise UserError("--n-embd, --n-layer and --n-head do not go with --model: the checkpoint has a size of its own")
    chosen["env_options"] = read_options(options.env_option) if options.env_option else None
    given = {name: value for name, value in chosen.items() if value is not None}
    if options.resume is not None:
        return _resume(options, given)
    config, recipe = recipes.configure(given)
    if recipe:
        print(f"recipe of {config.env}: {recipes.as_options(recipe)}", flush=True)
    label = config.env.replace("/", "-")
    if options.compare is not None:
        return _compare(options, config, options.out or checkpoint.fresh_directory(Path("runs") / f"{label}-compare"))
    if options.seeds is not None:
        return _study(options, config, options.out or checkpoint.fresh_directory(Path("runs") / f"{label}-study"))
    out = options.out or checkpoint.fresh_directory(Path("runs") / f"{label}-seed{config.seed}")
    return _train(Run(config, out), options)


def _resume(options: argparse.Namespace, given: dict[str, Any]) -> int:
    from minillm.run import resume_run

    for name in ("out", "overwrite", "compare", "seeds"):
        if getattr(options, name):
            raise RunDirectoryError(f"--resume DIR goes on in DIR; leave --{name} out")
    return _train(resume_run(options.resume, given), options)


def _board(options: argparse.Namespace) -> Any:
    from minillm.metrics import Board

    return Board() if options.tensorboard else None


def _train(training: Any, options: argparse.Namespace) -> int:
    from minillm import checkpoint, report
    from minillm.crew import Crew
    from minillm.executors import VARIABLE, executor

    out, training.board = training.directory, _board(options)
    with contextlib.ExitStack() as stack:
        if where := options.executor or os.environ.get(VARIABLE):
            training.map = stack.enter_context(Crew(functools.partial(executor, where))).map
        if options.resume is None:  # last: what is wrong until here neither leaves a directory behind nor deletes an old run
            checkpoint.prepare_directory(out, options.overwrite, training.settings())
        summary = training.execute()
    picture = report.drawn("learning curve", out / "curve.png", lambda: report.picture(out))
    print(report.table(summary))
    print(report.episodes(training.agents[0], training.mdp, seed=training.config.seed, episodes=3))
    print(picture)
    print(f"run: {out}   (minillm play {out}, minillm evaluate {out})")
    return 0


def _compare(options: argparse.Namespace, config: Any, out: Path) -> int:
    from minillm import comparison, report

    for name in ("estimator", "overwrite", "save_coefficients"):
        if getattr(options, name):
            raise UserError(f"--compare does not go with --{name.replace('_', '-')}")
    found = comparison.compare(config, options.compare.split(","), _seeds(options, config), out, options.executor)
    picture = report.drawn("learning curves", out / "compare.png", lambda: report.comparison_picture(out / "compare.png", found))
    print(comparison.table(found))
    print(picture)
    print(f"study: {out}")
    return 0


def _study(options: argparse.Namespace, config: Any, out: Path) -> int:
    from minillm.commands.study import carry_out
    from minillm.comparison import one_axis

    if options.save_coefficients:
        raise UserError("--seeds does not go with --save-coefficients")
    return carry_out(one_axis(config, [config.estimator], _seeds(options, config)), out, options.executor, overwrite=options.overwrite)


def _seeds(options: argparse.Namespace, config: Any) -> list[int]:
    """The seeds that were asked for; a plain number counts from --seed on."""
    from minillm.study import read_seeds

    plain = (options.seeds or "1").isdecimal()
    if options.seed is not None and not plain:
        raise UserError(f"--seeds {options.seeds} does not go with --seed")
    return [config.seed * plain + s for s in read_seeds(options.seeds or 1)]
