"""Experience: steps of episodes as arrays in memory, and as JSON lines on disk."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from minillm.errors import UserError
from minillm.objectives import IGNORE

KINDS = {
    "state": str, "action": str, "next_state": str, "reward": float, "terminated": bool, "truncated": bool, "log_probs": float,
    "action_ids": int, "episode": int, "step": int,
}  # fmt: skip
TOKENS = {"log_probs": 0.0, "action_ids": IGNORE}  # fields with a value a token, and what pads them


@dataclasses.dataclass(frozen=True)
class Experience:
    """M steps, ordered by episode and, within it, by time.

    Attributes
    ----------
    states, actions, next_states : str arrays of shape (M,)
        What the policy read, what it wrote (without the end token), and what came back.
    rewards : float64 array of shape (M,)
    terminated, truncated : bool arrays of shape (M,)
    log_probs : float64 array of shape (M, L)
        Log-probability of each token of the action, end token included, under the policy that chose it; 0 beyond.
    action_ids : int64 array of shape (M, L)
        The tokens that were sampled, padded with −100. They are stored, never made again from the text.
    episodes, steps : int64 arrays of shape (M,)
        Number of the episode, and of the step within it, from 0.
    """

    states: np.ndarray
    actions: np.ndarray
    next_states: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    log_probs: np.ndarray
    action_ids: np.ndarray
    episodes: np.ndarray
    steps: np.ndarray

    def __len__(self) -> int:
        return len(self.rewards)

    def take(self, rows: np.ndarray) -> Experience:
        """Return the given steps (an index or mask array)."""
        return Experience(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def returns(self) -> np.ndarray:
        """Return the sum of rewards of each episode, in the order in which episodes first appear."""
        _, episode = np.unique(self.episodes, return_inverse=True)
        return np.bincount(episode, weights=self.rewards)


def concatenate(parts: Iterable[Experience]) -> Experience:
    """Join experiences: action ids are padded to the longest, and episodes numbered on from part to part."""
    parts = list(parts)
    firsts = np.cumsum([0, *(int(part.episodes.max(initial=-1)) + 1 for part in parts)])
    width = max(part.action_ids.shape[1] for part in parts)
    columns = []
    for field in dataclasses.fields(Experience):
        arrays = [getattr(part, field.name) for part in parts]
        if field.name in TOKENS:
            arrays = [widened(a, width, TOKENS[field.name]) for a in arrays]
        if field.name == "episodes":
            arrays = [a + first for a, first in zip(arrays, firsts, strict=False)]
        columns.append(np.concatenate(arrays))
    return Experience(*columns)


def widened(array: np.ndarray, width: int, filler: float) -> np.ndarray:
    """Return the array (M, L) with ``width`` columns, the new ones filled."""
    wide = np.full((len(array), width), filler, array.dtype)
    wide[:, : array.shape[1]] = array
    return wide


class Lines(Protocol):
    """What lines are written to: a text file, or a journal."""

    def writelines(self, lines: Iterable[str], /) -> None: ...


def write_jsonl(file: Lines, experience: Experience, first_episode: int = 0) -> None:
    """Append one JSON object a step to a file; episodes are numbered from ``first_episode``."""
    columns = {_singular(field.name): getattr(experience, field.name) for field in dataclasses.fields(experience)}
    columns["episode"] = experience.episodes + first_episode
    taken = experience.action_ids != IGNORE
    file.writelines(json_lines({name: ragged(json_of(c[taken]), taken) if name in TOKENS else json_of(c) for name, c in columns.items()}))


def json_of(column: np.ndarray) -> list[str]:
    """Return each number or text of a column (M,) as JSON writes it."""
    if column.dtype.kind in "UO":
        return list(map(functools.cache(json.dumps), column.tolist()))  # few states and actions, many steps
    return json.dumps(column.tolist())[1:-1].split(", ") if len(column) else []  # all in one call


def ragged(values: list[str], taken: np.ndarray) -> list[str]:
    """Return the values of tokens, one after the other, as a JSON list a step; a bool array (M, L) says which tokens there are."""
    ends = [0, *np.cumsum(taken.sum(axis=1)).tolist()]
    return [f"[{', '.join(values[start:end])}]" for start, end in itertools.pairwise(ends)]


def json_lines(columns: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table whose columns hold JSON."""
    template = "{" + ", ".join(f"{json.dumps(name)}: %s" for name in columns) + "}\n"
    return (template % row for row in zip(*columns.values(), strict=True))


def read_jsonl(path: str | Path) -> Experience:
    """Read what :func:`write_jsonl` wrote.

    Raises
    ------
    UserError
        If a line is not such an object; the message names the file and the line.
    """
    rows = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                rows.append(_step(line))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: not a step of experience ({error!r:.120})") from None
    if not rows:
        raise UserError(f"{path} holds no steps")
    columns = dict(zip(KINDS, zip(*rows, strict=True), strict=True))
    width = max(len(ids) for ids in columns["action_ids"])
    for name, filler in TOKENS.items():
        columns[name] = tuple([*row, *[filler] * (width - len(row))] for row in columns[name])
    return Experience(*(np.array(column, dtype=KINDS[name]) for name, column in columns.items()))


def _step(line: bytes) -> list:
    """The values on a line, in the order of ``KINDS``, each of its kind; a whole number is a float too."""
    step = json.loads(line)
    for name, kind in KINDS.items():
        for value in step[name] if name in TOKENS else [step[name]]:
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise TypeError(f"{name} is {value!r}, expected {kind.__name__}")
    if len(step["log_probs"]) != len(step["action_ids"]):
        raise ValueError(f"{len(step['log_probs'])} log_probs for {len(step['action_ids'])} action_ids")
    return [step[name] for name in KINDS]


def _singular(name: str) -> str:
    """The key on a line, which holds one step: ``states`` → ``state``; ``action_ids`` and ``log_probs`` stay, being many."""
    return name if name in TOKENS else name.removesuffix("s")
