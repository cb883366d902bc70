r"""What a study shows: for each setting the mean of exact J over seeds, and Student's confidence interval.

With the values $J_1 … J_n$ of n seeds, mean $\bar J$ and standard deviation s (divisor n − 1), the interval is
$\bar J \pm t_{n-1,\,0.975}\,s/\sqrt n$: it covers the expected J over seeds with 95 % confidence if J is normal over seeds. One seed has
no interval.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm.checkpoint import write_atomically
from minillm.study import Study

CONFIDENCE = 0.95
EXACT = ("uniform", "fit", "improve", "optimal")


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over seeds (the first axis) and the half-width of its confidence band; NaN for one seed."""
    from scipy import stats

    n = len(values)
    mean = values.mean(axis=0)
    if n == 1:
        return mean, np.full_like(mean, np.nan)
    return mean, stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)


def runs(study: Study, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each run that is done: its setting, its seed, and exact J."""
    rows = []
    for setting in study.settings():
        for seed in study.seeds:
            result = results.get(study.key(setting, seed))
            if result is not None:
                rows.append(
                    {**setting, "seed": seed, "episodes": result["episodes"], **{name: result["exact"][name] for name in EXACT}}
                )
    return rows


def settings(study: Study, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each setting with runs: how many, the mean of exact J after improving, and its confidence interval."""
    rows, done = [], runs(study, results)
    for setting in study.settings():
        found = [row for row in done if setting.items() <= row.items()]
        if found:
            mean, half = (float(x) for x in band(np.array([row["improve"] for row in found])))
            rows.append(
                {**setting, "runs": len(found), "mean": mean, "low": mean - half, "high": mean + half, "optimal": found[0]["optimal"]}
            )
    return rows


def text(study: Study, results: Mapping[str, Any]) -> str:
    """Return the table of the settings: the axes that vary, runs, mean, interval, share of the optimum."""
    axes = study.shown()
    head = [*axes, "runs", "mean", f"{100 * CONFIDENCE:g} % interval", "J*", "of J*"]
    rows = [head]
    for row in settings(study, results):
        interval = "one seed, none" if math.isnan(row["low"]) else f"[{row['low']:.4f}, {row['high']:.4f}]"
        share = f"{row['mean'] / row['optimal']:.2%}" if row["optimal"] > 0 else "-"
        rows.append([*(str(row[name]) for name in axes), str(row["runs"]), f"{row['mean']:.4f}", interval, f"{row['optimal']:.4f}", share])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if k < len(axes) else cell.rjust(width) for k, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in [f"exact J after improve, {len(results)} runs", "", *lines])


def write(study: Study, results: Mapping[str, Any], directory: Path) -> None:
    """Write ``runs.csv`` and ``table.csv``, numbers to the last digit."""
    for name, rows in (("runs.csv", runs(study, results)), ("table.csv", settings(study, results))):
        write_atomically(directory / name, _csv(rows))


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()
