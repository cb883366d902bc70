r"""Decisions packed for scoring and differentiation: what several of them have in common is computed once.

A decision is a prompt and an action. Actions in one state share its prompt, actions that begin alike their beginning, and prompts that
begin alike theirs: :mod:`minillm.prefix_trees`. An action's last token is a target only, and is not read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minillm.objectives import IGNORE
from minillm.prefix_trees import Forest
from minillm.tokenizer import Tokenizer

PIECE_TOKENS = 2048
PIECE_LOGITS = 1 << 25  # a vocabulary of more than 16,384 makes the pieces smaller
MOST = 1 << 62  # a number that an int64 holds


@dataclasses.dataclass(frozen=True)
class Packed:
    """A piece of a batch: what :meth:`GPT.forward` takes, U rows of T nodes with n logits each, and which tokens these predict.

    The N tokens: ``places`` (N,) in the logits, reshaped to (U·n, V); ``targets`` (N,); token ``columns`` (N,) of ``decisions`` (N,).
    """

    ids: np.ndarray
    at: np.ndarray
    positions: np.ndarray
    visible: np.ndarray
    places: np.ndarray
    targets: np.ndarray
    decisions: np.ndarray
    columns: np.ndarray

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to a worker: the mask as bits, an eighth of its bytes."""
        return self.__dict__ | {"visible": (self.visible.shape, np.packbits(self.visible))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        shape, bits = state["visible"]
        self.__dict__.update(state, visible=np.unpackbits(bits, count=math.prod(shape)).view(bool).reshape(shape))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return the values (D, L, …) of the piece's tokens: (N, …)."""
        return values[self.decisions, self.columns]

    def collect(self, values: np.ndarray, into: np.ndarray) -> None:
        """Write values (N, …) of the piece's tokens into ``into`` (D, L, …): the inverse of :meth:`spread`."""
        into[self.decisions, self.columns] = values


class Decisions:
    """The D different ones among M decisions: an action (its tokens) in a state (its text).

    Parameters
    ----------
    states : str array of shape (M,)
    action_ids : integer array of shape (M, L), padded with −100

    Attributes
    ----------
    same : integer array of shape (M,)
        Which of the D each of the M is.
    action_ids : integer array of shape (D, L)
    """

    def __init__(self, states: np.ndarray, action_ids: np.ndarray) -> None:
        self.texts, state = np.unique(states, return_inverse=True)
        _, first, self.same = np.unique(_numbers(state, action_ids), return_index=True, return_inverse=True)
        self.state, self.action_ids = state[first], action_ids[first]

    def add(self, weights: np.ndarray) -> np.ndarray:
        """Return the sums (D, L, …) of weights (M, L, …) of equal decisions; those beyond an action's tokens are 0."""
        total = np.zeros((len(self.state), *weights.shape[1:]), weights.dtype)
        np.add.at(total, self.same, weights)
        total[self.action_ids == IGNORE] = 0
        return total

    def pack(self, tokenizer: Tokenizer, wanted: np.ndarray) -> Iterator[Packed]:
        """Pack the decisions that are wanted, a bool array (D,), in pieces of about ``PIECE_TOKENS`` tokens."""
        chosen = np.flatnonzero(wanted)
        if not len(chosen):
            return
        texts, state = np.unique(self.state[chosen], return_inverse=True)
        prompts, lengths = (array[state] for array in tokenizer.encode_prompts(self.texts[texts]))
        actions = self.action_ids[chosen]
        limit = min(PIECE_TOKENS, PIECE_LOGITS // tokenizer.vocab_size)
        forest = Forest(_sequences(prompts, lengths, actions), limit)
        decision, column = np.nonzero(actions != IGNORE)
        before = forest.path[decision, lengths[decision] + column - 1]  # the nodes that predict the tokens
        for layout, asked, places in forest.pieces(before, limit, tokenizer.eos_token_id):
            yield Packed(*layout, places, actions[decision[asked], column[asked]], chosen[decision[asked]], column[asked])


def _numbers(state: np.ndarray, action_ids: np.ndarray) -> np.ndarray:
    """A number for each decision, in the order of state and ids: equal ones have one number."""
    number = state
    for column in action_ids.T:
        low, high = int(column.min(initial=0)), int(column.max(initial=0))
        if (int(number.max(initial=0)) + 1) * (high - low + 1) > MOST:
            _, number = np.unique(number, return_inverse=True)
        number = number * (high - low + 1) + (column - low)
    return number


def _sequences(prompts: np.ndarray, lengths: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The tokens (W, S) that are read, padded with −100: prompts (W, P) of some lengths, and actions (W, L) but for their last token."""
    P = prompts.shape[1]
    tokens = np.full((len(prompts), P + actions.shape[1]), IGNORE)
    tokens[:, :P] = np.where(np.arange(P) < lengths[:, None], prompts, IGNORE)
    written = np.where(actions[:, 1:] == IGNORE, IGNORE, actions[:, :-1])
    tokens[np.arange(len(prompts))[:, None], lengths[:, None] + np.arange(written.shape[1])] = written
    return tokens[:, : int((tokens != IGNORE).sum(axis=1).max())]
