r"""Several estimators over several seeds: exact J against episodes, with Student's confidence bands.

With the values $J_1 … J_n$ of n seeds, mean $\bar J$ and standard deviation s (divisor n − 1), the band is
$\bar J \pm t_{n-1,\,0.975}\,s/\sqrt n$: it covers the expected J over seeds with 95 % confidence if J is normal over seeds. One seed has
no band.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from minillm import checkpoint
from minillm.errors import UserError
from minillm.run import Run
from minillm.train_config import TrainConfig
from minillm.worlds import title

CONFIDENCE = 0.95


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over seeds (the first axis) and the half-width of its confidence band; NaN for one seed."""
    n = len(values)
    mean = values.mean(axis=0)
    if n == 1:
        return mean, np.full_like(mean, np.nan)
    return mean, stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)


def compare(config: TrainConfig, names: list[str], seeds: int, directory: Path, quiet: bool = False) -> dict[str, Any]:
    """Train with each estimator and the seeds ``config.seed``, ``config.seed + 1``, …; write ``compare.json`` and return what it holds.

    Parameters
    ----------
    config : TrainConfig
        All that the runs share.
    names : list of str
        Estimators.
    seeds : int
        How many seeds each.
    directory : Path
        A new directory; each run has its own inside.
    quiet : bool

    Raises
    ------
    UserError
        If an estimator is named twice or cannot be trained with: before the first run.
    """
    if len(set(names)) < len(names):
        raise UserError(f"an estimator is named twice in {', '.join(names)}")
    configs = {name: dataclasses.replace(config, estimator=name) for name in names}
    checkpoint.prepare_directory(directory)
    found: dict[str, Any] = {
        "env": config.env, "env_options": config.env_options, "seeds": [config.seed + k for k in range(seeds)], "methods": {},
    }  # fmt: skip
    for name, chosen in configs.items():
        curves = []
        for seed in found["seeds"]:
            out = checkpoint.prepare_directory(directory / f"{name}-seed{seed}")
            run = Run(dataclasses.replace(chosen, seed=seed), out, quiet)
            summary = run.execute()
            curves.append([value for _, value in run.curve])
            found |= {"episodes": [episodes for episodes, _ in run.curve], "exact": _bounds(summary)}
        found["methods"][name] = curves
        checkpoint.write_json(directory / "compare.json", found)
    return found


def _bounds(summary: dict[str, Any]) -> dict[str, float]:
    return {name: summary["exact"][name] for name in ("uniform", "optimal")}


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
