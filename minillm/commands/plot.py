"""`minillm plot WHAT`: pictures of runs, of worlds, and of the research instruments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minillm.commands.arguments import count, seed

RUN = (("run",), {"type": Path, "metavar": "RUN", "help": "a directory that minillm train made"})
GROUP = (("--group",), {"type": int, "choices": (2, 3, 4), "default": 2, "metavar": "G", "help": "episodes in a group: 2, 3 or 4 (2)"})
SEED = (("--seed",), {"type": seed, "default": 0})


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("plot", help="pictures of runs and of the research instruments (extra plot)")
    kinds = parser.add_subparsers(required=True, metavar="WHAT", parser_class=type(parser))
    for name, (draw, meaning, arguments) in KINDS.items():
        kind = kinds.add_parser(name, help=meaning)
        for flags, settings in arguments:
            kind.add_argument(*flags, **settings)
        kind.add_argument("--out", type=Path, default=Path(f"{name}.png"), metavar="FILE", help=f"the PNG ({name}.png)")
        kind.set_defaults(command=run, draw=draw)


def run(options: argparse.Namespace) -> int:
    """Draw the picture and say where it is."""
    from minillm.plots.figure import require_matplotlib

    require_matplotlib()
    options.draw(options)
    print(options.out)
    return 0


def _curve(options: argparse.Namespace) -> None:
    from minillm import report

    report.picture(options.run, options.out)


def _policy(options: argparse.Namespace) -> None:
    from minillm import grid_maps, plots

    mdp, pi, name = _exact(options.run)
    found = grid_maps.some(grid_maps.rooms(mdp), options.rooms)
    plots.policy(options.out, found, mdp.action_texts.tolist(), pi, mdp.state_values(pi)[0], f"{name}: the agent's policy")


def _visits(options: argparse.Namespace) -> None:
    from minillm import grid_maps, plots

    mdp, pi, name = _exact(options.run)
    found = grid_maps.rooms(mdp)
    plots.visits(options.out, grid_maps.common(found), grid_maps.visits(mdp, pi, found), f"{name}: where the agent is")


def _exact(run: Path) -> tuple[Any, Any, str]:
    """The table of a run, its agent's exact policy (S, A), and the environment's name."""
    from minillm.run import exact_policy, load_run
    from minillm.worlds import title

    agent, mdp, facts = load_run(run)
    return mdp, exact_policy(agent, mdp), title(mdp.id, facts.get("env_options", {}))


def _attention(options: argparse.Namespace) -> None:
    from minillm import inspection, plots
    from minillm.run import load_run

    agent, mdp, _ = load_run(options.run)
    state = str(mdp.state_texts[mdp.start.argmax()]) if options.state is None else options.state
    ids = inspection.turn(agent, state)
    plots.attention(options.out, inspection.attention_weights(agent.model, ids), inspection.labels(agent.tokenizer, ids))


def _mutants(options: argparse.Namespace) -> None:
    from minillm import plots
    from minillm.lab import mutants
    from minillm.progress import Progress

    with Progress("mutants", len(mutants.CATALOGUE), "mutant") as progress:
        matrices = mutants.score_all(seed=options.seed, on_mutant=lambda mutant: progress.update())
    plots.kill_table(options.out, mutants.rows(matrices))


def _estimators(options: argparse.Namespace) -> None:
    from minillm import plots
    from minillm.estimators import ESTIMATORS
    from minillm.lab import estimators
    from minillm.progress import Progress

    with Progress("estimators", len(ESTIMATORS), "estimator") as progress:
        rows = estimators.rows(options.group, on_row=lambda row: progress.update(name=row.name))
    plots.bias_and_variance(options.out, rows, options.group)


def _steps(options: argparse.Namespace) -> None:
    from minillm import plots
    from minillm.lab.step_sizes import STEPS, step_errors

    plots.step_sizes(options.out, STEPS, step_errors(options.seed))


def _gradient(options: argparse.Namespace) -> None:
    from minillm import plots
    from minillm.estimators import named
    from minillm.lab.distribution import along_the_gradient

    chosen = [named(name) for name in options.estimators.split(",")]
    found = {estimator.name: along_the_gradient(estimator, options.group) for estimator in chosen}
    plots.distributions(options.out, found, options.group)


def _landscape(options: argparse.Namespace) -> None:
    from minillm import plots
    from minillm.lab.landscape import landscape
    from minillm.progress import Progress
    from minillm.worlds import exact

    mdp = exact(options.env)
    points = 31
    with Progress("landscape", options.steps + 1 + points**2, "value of J") as progress:
        found = landscape(mdp, options.steps, points, options.seed, on_step=lambda J: progress.update(J=J))
    plots.landscape(options.out, found, mdp.solve().J, f"{mdp.id}: exact J around the path of learning")


KINDS: dict[str, tuple[Callable[[argparse.Namespace], None], str, tuple]] = {
    "curve": (_curve, "exact J of a run against episodes, with the optimum", (RUN,)),
    "policy": (
        _policy, "the policy as arrows on the grid, exact V(s) as shades",
        (RUN, (("--rooms",), {"type": count, "default": 4, "help": "how many rooms (goals, walls) to show at most (4)"})),
    ),
    "visits": (_visits, "occupancy: expected visits of each cell in one episode", (RUN,)),
    "attention": (_attention, "what each head looks at while the agent acts", (RUN, (("--state",), {"help": "the state's text (a start)"}))),
    "mutants": (_mutants, "the kill table: which checker catches which wrong gradient", (SEED,)),
    "estimators": (_estimators, "bias and variance of every estimator", (GROUP,)),
    "steps": (_steps, "error against step size: differences beside the complex step", (SEED,)),
    "gradient": (
        _gradient, "the distribution of estimates along the exact gradient",
        (GROUP, (("--estimators",), {"default": "reinforce,rloo,grpo", "metavar": "A,B", "help": "names (reinforce,rloo,grpo)"})),
    ),
    "landscape": (
        _landscape, "exact J along two directions, with the path of learning",
        (
            (("env",), {"nargs": "?", "default": "text/bandit-3-2", "metavar": "ENV", "help": "a small environment (text/bandit-3-2)"}),
            (("--steps",), {"type": count, "default": 150, "help": "steps of exact gradient ascent (150)"}),
            SEED,
        ),
    ),
}  # fmt: skip
