"""Several estimators over several seeds: a study with one axis, shown as exact J against episodes with confidence bands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm import checkpoint
from minillm.errors import WorkerError
from minillm.study import NOT_STUDIED, Study, make_study, run_study
from minillm.study_table import band
from minillm.train_config import TrainConfig
from minillm.worlds import title


def one_axis(config: TrainConfig, names: Sequence[str], seeds: Sequence[int]) -> Study:
    """Return the study of a configuration with each of some estimators and seeds.

    Raises
    ------
    UserError
        If an estimator or a seed is named twice.
    """
    fixed = {name: value for name, value in dataclasses.asdict(config).items() if name not in NOT_STUDIED and value is not None}
    return make_study({**fixed, "env_options": config.env_options, "estimator": list(names), "seeds": list(seeds)})


def compare(
    config: TrainConfig, names: Sequence[str], seeds: Sequence[int], directory: Path, where: str | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Train with each estimator and seed; write ``compare.json`` and return what it holds.

    Parameters
    ----------
    config : TrainConfig
        All that the runs share.
    names : sequence of str
        Estimators.
    seeds : sequence of int
    directory : Path
        A new directory, for the study.
    where : str, optional
        See :func:`minillm.executors.executor`.
    quiet : bool

    Raises
    ------
    UserError
        If an estimator is named twice or cannot be trained with: before the first run.
    WorkerError
        If a run failed; the others are done, and the study can be resumed.
    """
    study = one_axis(config, names, seeds)
    outcome = run_study(study, directory, where, quiet=quiet)
    if outcome.errors:
        key, error = next(iter(outcome.errors.items()))
        raise WorkerError(f"{len(outcome.errors)} of the runs failed (minillm study --resume {directory}), the first of them {key}: {error}")
    found: dict[str, Any] = {"env": config.env, "env_options": config.env_options, "seeds": study.seeds, "methods": {}}
    for setting in study.settings():
        results = [outcome.results[study.key(setting, seed)] for seed in study.seeds]
        found["methods"][setting["estimator"]] = [[value for _, value in result["curve"]] for result in results]
        found |= {"episodes": [episodes for episodes, _ in results[0]["curve"]], "exact": _bounds(results[0])}
    checkpoint.write_json(directory / "compare.json", found)
    return found


def _bounds(result: dict[str, Any]) -> dict[str, float]:
    return {name: result["exact"][name] for name in ("uniform", "optimal")}


def table(found: dict[str, Any]) -> str:
    """Return the table of exact J at the end: mean over seeds and confidence band."""
    seeds, optimal = len(found["seeds"]), found["exact"]["optimal"]
    name, number = title(found["env"], found["env_options"]), f"{seeds} seed" + "s" * (seeds > 1)
    lines = [f"{name}: exact J after {found['episodes'][-1]} episodes, {number} each", ""]
    lines.append(f"{'':28}{'mean':>10}{'95 % band':>22}{'of J*':>10}")
    for name, curves in found["methods"].items():
        mean, half = (float(x[-1]) for x in band(np.array(curves)))
        spread = "one seed, no band" if seeds == 1 else f"[{mean - half:.4f}, {mean + half:.4f}]"
        share = f"{mean / optimal:.2%}" if optimal > 0 else "-"
        lines.append(f"{name:28}{mean:>10.4f}{spread:>22}{share:>10}")
    lines.append(f"{'optimum J*':28}{optimal:>10.4f}")
    return "\n".join(lines)
