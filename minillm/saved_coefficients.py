"""Coefficients of updates as JSON lines beside the experience, and where those of two methods differ."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minillm.errors import UserError
from minillm.experience import Experience, Lines, json_lines, json_of, ragged
from minillm.objectives import IGNORE
from minillm.tokenizer import END_OF_TEXT, Tokenizer

FILE = "coefficients.jsonl"
KEY = ("update", "epoch", "episode", "step")
ROUNDING = 1e-12


def write_coefficients(
    file: Lines, experience: Experience, c: np.ndarray, tokenizer: Tokenizer, *, update: int, epoch: int = 0, first_episode: int = 0
) -> None:
    """Append one JSON object a step to a file.

    Parameters
    ----------
    file : text file or journal
    experience : Experience of M steps
    c : ndarray of shape (M, L), or (M, L, V) if dense
    tokenizer : Tokenizer
        Tells how each token reads.
    update, epoch : int
    first_episode : int
        Number of the first episode in ``episodes.jsonl``.
    """
    taken = experience.action_ids != IGNORE
    ids, M = experience.action_ids[taken], len(experience)
    each = json_of(c[taken]) if c.ndim == 2 else list(map(json.dumps, c[taken].tolist()))
    tokens = map(functools.cache(lambda i: json.dumps(tokenizer.decode([i]))), ids.tolist())
    columns = {
        "update": [str(update)] * M, "epoch": [str(epoch)] * M, "episode": json_of(experience.episodes + first_episode),
        "step": json_of(experience.steps), "state": json_of(experience.states), "action": json_of(experience.actions),
        "action_ids": ragged(json_of(ids), taken), "tokens": ragged(list(tokens), taken), "coefficients": ragged(each, taken),
    }  # fmt: skip
    file.writelines(json_lines(columns))


@dataclasses.dataclass(frozen=True)
class Step:
    """A line of the file: where it is (``KEY``), state and action, ids (n,) of the tokens, how they read, and c of shape (n,) or (n, V)."""

    key: tuple[int, ...]
    state: str
    action: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    c: np.ndarray

    def token(self, t: int) -> str:
        """How token t reads: its text, or ``⟨end⟩``."""
        return "⟨end⟩" if self.tokens[t] == END_OF_TEXT else repr(self.tokens[t])


def read_coefficients(path: Path) -> Iterator[Step]:
    """Yield the steps of a file of coefficients, or of the run directory that holds it.

    Raises
    ------
    UserError
        If there is no such file, or a line is not such an object; the message names the file and the line.
    """
    path = path / FILE if path.is_dir() else path
    if not path.exists():
        raise UserError(f"there is no {path}; `minillm train --save-coefficients` writes one")
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield _step(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: not a step with coefficients ({error!r:.120})") from None


def _step(found: dict[str, Any]) -> Step:
    c = np.array(found["coefficients"], dtype=np.float64)
    ids = tuple(int(i) for i in found["action_ids"])
    tokens = tuple(str(text) for text in found["tokens"])
    if not len(c) == len(ids) == len(tokens):
        raise ValueError(f"{len(c)} coefficients and {len(tokens)} tokens for {len(ids)} action_ids")
    return Step(tuple(int(found[name]) for name in KEY), str(found["state"]), str(found["action"]), ids, tokens, c)


@dataclasses.dataclass
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    tokens : int
        Tokens that both have.
    zeros : list of two int
        Of these, how many have the coefficient 0 in the first and in the second.
    different : int
        How many have two different coefficients.
    first : list of (Step, Step, int)
        The first of these: the two steps and the token's number.
    parted : tuple or None
        ``KEY`` of the first step at which the two played different actions, where the comparison ends.
    """

    tokens: int = 0
    zeros: list[int] = dataclasses.field(default_factory=lambda: [0, 0])
    different: int = 0
    first: list[tuple[Step, Step, int]] = dataclasses.field(default_factory=list)
    parted: tuple[int, ...] | None = None


def compare(a: Iterator[Step], b: Iterator[Step], shown: int = 10) -> Comparison:
    """Compare step by step, up to where the two played differently; a difference is one above rounding (1e-12, relative).

    Raises
    ------
    UserError
        If one is dense and the other is not.
    """
    found = Comparison()
    for left, right in zip(a, b, strict=False):
        if (left.key, left.state, left.ids) != (right.key, right.state, right.ids):
            found.parted = left.key
            break
        if left.c.shape != right.c.shape:
            raise UserError("one has a coefficient a token and the other one a token of the vocabulary; they cannot be compared")
        rows = [c.reshape(len(left.ids), -1) for c in (left.c, right.c)]
        differ = (np.abs(rows[0] - rows[1]) > ROUNDING * np.maximum(np.abs(rows[0]), np.abs(rows[1]))).any(axis=1)
        found.tokens += len(left.ids)
        found.different += int(differ.sum())
        for side in (0, 1):
            found.zeros[side] += int((rows[side] == 0).all(axis=1).sum())
        found.first += [(left, right, t) for t in np.flatnonzero(differ).tolist()][: shown - len(found.first)]
    return found
