"""What a run shows at its end: the table of exact values, episodes as text, the learning curve."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minillm import plots
from minillm.agent import LLMAgent
from minillm.errors import MissingExtra, RunDirectoryError
from minillm.metrics import read_metrics
from minillm.played_world import spelled
from minillm.study_table import CONFIDENCE, band
from minillm.watching import Turn, turns
from minillm.worlds import title

NAMES = {"uniform": "uniform policy", "fit": "after fit", "improve": "after improve", "optimal": "optimum J*"}


def table(summary: dict[str, Any]) -> str:
    """Return the table of exact J, or of sampled J where there is no table of the world, and of the seconds of each phase."""
    if "sampled" in summary:
        return _sampled_table(summary)
    exact, seconds = summary["exact"], summary["seconds_of"]
    name = title(summary["env"], summary["env_options"])
    lines = [f"{name}, seed {summary['seed']}: {summary['episodes']} episodes in {summary['seconds']:.1f} s", ""]
    lines.append(f"{'':16}{'exact J':>10}{'of J*':>10}{'seconds':>10}")
    for key, name in NAMES.items():
        share = f"{exact[key] / exact['optimal']:.2%}" if exact["optimal"] > 0 else "-"
        spent = {"fit": seconds["collect"] + seconds["fit"], "improve": seconds["improve"]}.get(key)
        lines.append(f"{name:16}{exact[key]:>10.4f}{share:>10}" + (f"{spent:>10.1f}" if spent is not None else ""))
    return "\n".join(lines)


def _sampled_table(summary: dict[str, Any]) -> str:
    seconds = summary["seconds_of"]
    spent = {"uniform": seconds["collect"], "fit": seconds["fit"], "improve": seconds["improve"]}
    name = title(summary["env"], summary["env_options"])
    lines = [f"{name}, seed {summary['seed']}: {summary['episodes']} episodes in {summary['seconds']:.1f} s", ""]
    lines.append("there is no table of this world: J is sampled, the mean return of n episodes ± its standard error")
    lines += [f"{NAMES[key]:16}{spelled(of):32}{spent[key]:>10.1f} s" for key, of in summary["sampled"].items()]
    return "\n".join(lines)


def stream(agent: LLMAgent, mdp: Any, seed: int, episodes: int, note: Callable[[Turn], str] = lambda turn: "") -> Iterator[str]:
    """Play episodes and yield what happens, a step at a time; ``note`` says more of a turn."""
    for turn in turns(agent, mdp, seed, episodes):
        if turn.step == 1:
            yield f"episode {turn.episode}\n{turn.state}"
        mark = "" if turn.valid else " (not an action)"
        yield f"> {turn.action!r}{mark}: reward {turn.reward:g}, sum {turn.total:g}\n{note(turn)}{turn.next_state}"
        if turn.ending:
            yield f"{turn.ending}\n"


def episodes(agent: LLMAgent, mdp: Any, seed: int, episodes: int) -> str:
    """Return episodes as text, each step's picture beside the last."""
    shown: list[list[str]] = []
    for text in stream(agent, mdp, seed, episodes):
        if text.startswith("episode"):
            shown.append([text])
        else:
            shown[-1].append(text)
    return "\n".join(_side_by_side(turns) for turns in shown)


def _side_by_side(turns: list[str], width: int = 110) -> str:
    """Lay multi-line texts out from left to right, in rows no wider than ``width``."""
    rows: list[list[list[str]]] = [[]]
    used = 0
    for block in (turn.rstrip("\n").split("\n") for turn in turns):
        wide = max(map(len, block)) + 3
        if used + wide > width:
            rows.append([])
            used = 0
        rows[-1].append([line.ljust(wide) for line in block])
        used += wide
    text = []
    for row in rows:
        height = max(map(len, row))
        padded = [block + [" " * len(block[0])] * (height - len(block)) for block in row]
        text += ["".join(parts).rstrip() for parts in zip(*padded, strict=True)]
    return "\n".join([*text, ""])


def drawn(what: str, path: Path, draw: Callable[[], None]) -> str:
    """Draw, and return the line that says where the picture lies or which extra it needs.

    Commands draw before they print: when the output is cut off (``| head``) all files are there.
    """
    try:
        draw()
    except MissingExtra as missing:
        return f"no {path.name}: {missing}"
    return f"{what}: {path}"


def picture(directory: Path, path: Path | None = None) -> None:
    """Draw the learning curve of a finished run, ``curve.png`` in it if no other path is named.

    Raises
    ------
    RunDirectoryError
        If the directory holds no finished run of ``minillm train``.
    MissingExtra
        Without matplotlib.
    """
    try:
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        lines = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        kind = "sampled" if "sampled" in summary else "exact"
        curve = [(record["episodes"], record[kind]) for record in map(json.loads, lines) if record.get("phase") == kind]
        uniform, optimal = summary[kind]["uniform"], summary[kind].get("optimal")
        heading = f"{title(summary['env'], summary['env_options'])}, seed {summary['seed']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{directory} holds no finished run of minillm train ({error})") from None
    plots.learning_curve(path or directory / "curve.png", curve, uniform["mean"] if kind == "sampled" else uniform, optimal, heading)


def comparison_picture(path: Path, found: dict[str, Any]) -> None:
    """Draw what :func:`minillm.comparison.compare` found; raises :class:`minillm.errors.MissingExtra` without matplotlib."""
    seeds, exact = len(found["seeds"]), found["exact"]
    bands = {name: band(np.array(curves)) for name, curves in found["methods"].items()}
    kind = "one seed each, no bands" if seeds == 1 else f"mean and {CONFIDENCE:.0%} band over {seeds} seeds"
    heading = f"{title(found['env'], found['env_options'])}: {kind}"
    plots.learning_curves(path, found["episodes"], bands, exact["uniform"], exact["optimal"], heading)


def fit_table(summary: dict[str, Any]) -> str:
    """Return what a run on text came to, beside what simple models make of the same validation characters."""
    bits = summary["bits_per_character"]
    lines = [
        f"{summary['parameters']:,} parameters, {summary['steps']} steps, {summary['tokens']:,} tokens in {summary['seconds']:.1f} s, "
        f"seed {summary['seed']}; best after step {summary['best_step']}",
        "",
        f"{summary['validation_characters']:,} validation characters: bits per character",
        *(f"{name:24}{value:>10.4f}" for name, value in bits.items()),
        "",
        f"validation loss {summary['validation_loss']:.4f} nats per character",
    ]
    return "\n".join(lines)


def loss_picture(directory: Path, summary: dict[str, Any]) -> None:
    """Write ``loss.png`` of a run on text; raises :class:`minillm.errors.MissingExtra` without matplotlib."""
    records = read_metrics(directory)
    train, validation = ([(r["step"], r[key]) for r in records if key in r] for key in ("loss", "validation_loss"))
    others = {name: value for name, value in summary["bits_per_character"].items() if name != "minillm"}
    plots.loss_curve(directory / "loss.png", train, validation, others, f"{directory.name}, seed {summary['seed']}")
