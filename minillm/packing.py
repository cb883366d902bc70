r"""Decisions packed for scoring and differentiation: each state is read once, whatever was done in it.

A row holds a prompt and behind it, side by side, the K different actions that were taken there. Every action token has the
position that it would have right after the prompt, and sees the prompt and its own action only:

    ids        s t a t e ⟨end⟩ │ u p │ l e f t │ …
    positions  0 1 2 3 4 5     │ 6 7 │ 6 7 8 9 │ …

So its logits, and the gradient, are those of the prompt and that action alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minillm.objectives import IGNORE
from minillm.tokenizer import Tokenizer

PIECE_TOKENS = 4096
PIECE_LOGITS = 1 << 25  # a vocabulary of more than 8,192 makes the pieces smaller


@dataclasses.dataclass(frozen=True)
class Packed:
    """A piece of a batch: what :meth:`GPT.forward` takes, the targets (U, K·L) of its logits, and which decisions (U, K) they are."""

    ids: np.ndarray
    at: np.ndarray
    positions: np.ndarray
    visible: np.ndarray
    targets: np.ndarray
    decisions: np.ndarray

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to a worker: the mask as bits, an eighth of its bytes."""
        return self.__dict__ | {"visible": (self.visible.shape, np.packbits(self.visible))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        shape, bits = state["visible"]
        self.__dict__.update(state, visible=np.unpackbits(bits, count=math.prod(shape)).view(bool).reshape(shape))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return the values (D, L, …) of the decisions where their logits are: (U, K·L, …); 0 beside."""
        used = (self.decisions >= 0).reshape(*self.decisions.shape, *[1] * (values.ndim - 1))
        return np.where(used, values[self.decisions], 0).reshape(*self.targets.shape, *values.shape[2:])

    def collect(self, values: np.ndarray, into: np.ndarray) -> None:
        """Write values (U, K·L, …) at the logits to their decisions in ``into`` (D, L, …): the inverse of :meth:`spread`."""
        used = self.decisions >= 0
        into[self.decisions[used]] = values.reshape(*used.shape, *into.shape[1:])[used]


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
        keys, same = np.unique(np.column_stack([state, action_ids]), axis=0, return_inverse=True)
        self.state, self.action_ids, self.same = keys[:, 0], keys[:, 1:], same.reshape(-1)

    def add(self, weights: np.ndarray) -> np.ndarray:
        """Return the sums (D, L, …) of weights (M, L, …) of equal decisions; those beyond an action's tokens are 0."""
        total = np.zeros((len(self.state), *weights.shape[1:]), weights.dtype)
        np.add.at(total, self.same, weights)
        total[self.action_ids == IGNORE] = 0
        return total

    def pack(self, tokenizer: Tokenizer, wanted: np.ndarray) -> Iterator[Packed]:
        """Pack the decisions that are wanted, a bool array (D,), in pieces of about ``PIECE_TOKENS`` tokens."""
        limit = min(PIECE_TOKENS, PIECE_LOGITS // tokenizer.vocab_size)
        chosen = np.flatnonzero(wanted)
        counts = np.bincount(self.state[chosen], minlength=len(self.texts))
        order = np.argsort(counts, kind="stable")  # rows with equally many actions together: little padding
        order = order[counts[order] > 0]
        prompts, lengths = tokenizer.encode_prompts(self.texts)
        first = np.cumsum(counts) - counts
        for rows in _pieces(order, counts, prompts.shape[1], self.action_ids.shape[1], limit):
            slots = np.arange(counts[rows].max())
            used = slots < counts[rows, None]
            index = np.where(used, chosen[np.where(used, first[rows, None] + slots, 0)], -1)
            actions = np.where(used[..., None], self.action_ids[index], IGNORE)
            yield _packed(prompts[rows], lengths[rows], actions, index, tokenizer.eos_token_id)


def _pieces(order: np.ndarray, counts: np.ndarray, prompt: int, action: int, limit: int) -> Iterator[np.ndarray]:
    """Cut rows, in their order, into pieces of about ``limit`` tokens, padding included."""
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * (prompt + counts[order[stop]] * action) <= limit:
            stop += 1
        yield order[start:stop]
        start = stop


def _packed(prompts: np.ndarray, lengths: np.ndarray, actions: np.ndarray, decisions: np.ndarray, pad: int) -> Packed:
    """Lay out prompts (U, P) of some lengths and their actions (U, K, L)."""
    U, K, L = actions.shape
    P = prompts.shape[1]
    written = np.where(actions == IGNORE, pad, actions)[:, :, :-1].reshape(U, -1)  # no token follows an action's last
    slot = np.repeat(np.arange(K), L - 1)
    offset = np.tile(np.arange(L - 1), K)
    positions = np.concatenate([np.broadcast_to(np.arange(P), (U, P)), lengths[:, None] + offset], axis=1)
    T = positions.shape[1]
    visible = np.tri(T, dtype=bool) & np.ones((U, T, T), dtype=bool)
    visible[:, P:, :P] = (np.arange(P) < lengths[:, None])[:, None]
    visible[:, P:, P:] &= slot[:, None] == slot
    at = np.empty((U, K, L), dtype=np.int64)
    at[:, :, 0] = lengths[:, None] - 1  # the prompt's end token predicts each action's first token
    at[:, :, 1:] = P + np.arange(K * (L - 1)).reshape(K, L - 1)
    return Packed(
        ids=np.concatenate([prompts, written], axis=1),
        at=at.reshape(U, -1),
        positions=positions,
        visible=visible[:, None],
        targets=actions.reshape(U, -1),
        decisions=decisions,
    )
