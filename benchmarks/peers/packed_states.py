"""Decisions packed for the peer's update: a row is a state's prompt and, side by side, the different actions that were taken in it.

Every action token has the position that it would have right after the prompt, and sees the prompt and its own action only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from minillm.objectives import IGNORE
from minillm.packing import Decisions
from minillm.tokenizer import Tokenizer

PIECE_TOKENS = 4096


@dataclasses.dataclass(frozen=True)
class PackedStates:
    """U rows: what the model takes, the targets (U, K·L) of its logits, and which decisions (U, K) they are."""

    ids: np.ndarray
    at: np.ndarray
    positions: np.ndarray
    visible: np.ndarray
    targets: np.ndarray
    decisions: np.ndarray

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return the values (D, L) of the decisions where their logits are: (U, K·L); 0 beside."""
        return np.where((self.decisions >= 0)[..., None], values[self.decisions], 0).reshape(self.targets.shape)


def pack_states(decisions: Decisions, tokenizer: Tokenizer, wanted: np.ndarray) -> Iterator[PackedStates]:
    """Pack the decisions that are wanted, a bool array (D,), in pieces of about ``PIECE_TOKENS`` tokens."""
    chosen = np.flatnonzero(wanted)
    counts = np.bincount(decisions.state[chosen], minlength=len(decisions.texts))
    order = np.argsort(counts, kind="stable")  # rows with equally many actions together: little padding
    order = order[counts[order] > 0]
    prompts, lengths = tokenizer.encode_prompts(decisions.texts)
    first = np.cumsum(counts) - counts
    for rows in _pieces(order, counts, prompts.shape[1], decisions.action_ids.shape[1]):
        slots = np.arange(counts[rows].max())
        used = slots < counts[rows, None]
        index = np.where(used, chosen[np.where(used, first[rows, None] + slots, 0)], -1)
        actions = np.where(used[..., None], decisions.action_ids[index], IGNORE)
        yield _packed(prompts[rows], lengths[rows], actions, index, tokenizer.eos_token_id)


def _pieces(order: np.ndarray, counts: np.ndarray, prompt: int, action: int) -> Iterator[np.ndarray]:
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * (prompt + counts[order[stop]] * action) <= PIECE_TOKENS:
            stop += 1
        yield order[start:stop]
        start = stop


def _packed(prompts: np.ndarray, lengths: np.ndarray, actions: np.ndarray, decisions: np.ndarray, pad: int) -> PackedStates:
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
    ids = np.concatenate([prompts, written], axis=1)
    return PackedStates(ids, at.reshape(U, -1), positions, visible[:, None], actions.reshape(U, -1), decisions)
