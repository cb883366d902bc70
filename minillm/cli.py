"""The command ``minillm``: reads arguments, calls the library, prints. Exit status 2 and one line on stderr for a user's error."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from minillm import __version__
from minillm.errors import MissingExtra, UserError
from minillm.returns import BASELINES
from minillm.worlds import load_envs


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message as one line on stderr and exit with status 2."""
        print(f"{self.prog}: {message} (try {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt as interrupt:
        print(f"minillm: interrupted{interrupt}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `minillm play RUN | head`
        sys.stdout = None
        return 0


def _fail(message: str) -> int:
    print(f"minillm: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _parser() -> Parser:
    parser = Parser(prog="minillm", description="An LLM agent in pure NumPy: collect, fit, act, improve.")
    parser.add_argument("--version", action="version", version=f"minillm {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    _add_train(commands)
    play = commands.add_parser("play", help="replay a trained agent, step by step as text")
    play.add_argument("run", type=Path, help="a directory that minillm train made")
    play.add_argument("--episodes", type=_count, default=1)
    play.add_argument("--seed", type=_seed, default=0)
    play.add_argument("--temperature", type=float, default=1.0, help="0 takes the most probable character")
    play.add_argument("--top-k", type=int, default=None)
    play.add_argument("--top-p", type=float, default=None)
    play.set_defaults(command=_play)
    evaluate = commands.add_parser("evaluate", help="exact J of a trained agent, from its checkpoint")
    evaluate.add_argument("run", type=Path)
    evaluate.set_defaults(command=_evaluate)
    worlds = commands.add_parser("envs", help="the environments and their exact facts")
    worlds.add_argument("--json", action="store_true")
    worlds.set_defaults(command=_envs)
    check = commands.add_parser("check", help="measure every gate that a gradient must hold")
    check.add_argument("--mutants", action="store_true", help="the kill table: which checker catches which wrong gradient")
    check.add_argument("--json", action="store_true")
    check.set_defaults(command=_check)
    oracle = commands.add_parser("oracle", help="exact test cases as .npz files, for any other framework")
    oracle.add_argument("what", nargs="+", metavar="DIR | compare DIR YOURS.npz", help="write cases to DIR, or compare with them")
    oracle.set_defaults(command=_oracle)
    return parser


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="the main job: collect, fit, act, improve")
    train.add_argument("env", nargs="?", default=None, metavar="ENV", help="an environment (grid/empty-5)")
    train.add_argument("--seed", type=_seed, default=None)
    train.add_argument("--out", type=Path, default=None, metavar="DIR", help="run directory (a new one below runs/)")
    train.add_argument("--overwrite", action="store_true", help="delete the run that DIR holds")
    train.add_argument("--baseline", choices=BASELINES, default=None)
    for name, kind in OPTIONS.items():
        train.add_argument("--" + name.replace("_", "-"), type=kind, default=None)
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> int:
    from minillm import checkpoint, report
    from minillm.run import Run, TrainConfig
    from minillm.threads import recycle_memory

    recycle_memory()
    chosen = {f.name: getattr(options, f.name, None) for f in dataclasses.fields(TrainConfig)}
    config = TrainConfig(**{name: value for name, value in chosen.items() if value is not None})
    default = Path("runs") / f"{config.env.replace('/', '-')}-seed{config.seed}"
    out = options.out or checkpoint.fresh_directory(default)
    run = Run(config, out)  # first: a wrong configuration neither leaves a directory behind nor deletes an old run
    checkpoint.prepare_directory(out, options.overwrite)
    summary = run.execute()
    print(report.table(summary))
    print(report.episodes(run.agents[0], config.env, seed=config.seed, episodes=3))
    try:
        report.picture(run, summary)
        print(f"learning curve: {out / 'curve.png'}")
    except MissingExtra as missing:
        print(f"no curve.png: {missing}")
    print(f"run: {out}   (minillm play {out}, minillm evaluate {out})")
    return 0


def _play(options: argparse.Namespace) -> int:
    from minillm import report
    from minillm.decoding import Sampling
    from minillm.run import load_run

    agent, mdp, _ = load_run(options.run)
    agent.sampling = Sampling(options.temperature, options.top_k, options.top_p)
    for text in report.stream(agent, mdp.id, options.seed, options.episodes):
        print(text, flush=True)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from minillm.run import exact_value, load_run

    agent, mdp, _ = load_run(options.run)
    print(f"exact J of {mdp.id}: {exact_value(agent, mdp)!r}   (optimum {mdp.solve().J!r})")
    return 0


def _envs(options: argparse.Namespace) -> int:
    envs = load_envs()
    cards = envs.cards()
    print(json.dumps(cards, indent=2) if options.json else envs.facts.table(cards))
    return 0


def _check(options: argparse.Namespace) -> int:
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


def _oracle(options: argparse.Namespace) -> int:
    from minillm.lab import oracle

    if options.what[0] == "compare" and len(options.what) == 3:
        rows = oracle.compare(*options.what[1:])
        print(oracle.report(rows))
        return 0 if oracle.first_wrong(rows) is None else 1
    if len(options.what) != 1:
        raise UserError("oracle takes DIR, or compare DIR YOURS.npz")
    for path in oracle.write(options.what[0]):
        print(path)
    return 0


def _integer(minimum: int) -> Callable[[str], int]:
    """Return a reader of integers of at least ``minimum``, for argparse."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}") from None
        if number < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, got {number}")
        return number

    return read


_seed, _count = _integer(0), _integer(1)
OPTIONS: dict[str, Callable[[str], Any]] = {
    "collect_episodes": _count, "fit_steps": _count, "fit_lr": float, "improve_steps": _count, "improve_episodes": _count,
    "improve_lr": float, "n_embd": _count, "n_layer": _count, "n_head": _count,
}  # fmt: skip
