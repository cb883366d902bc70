r"""Decisions packed for differentiation: each state is read once, whatever was done in it.

A row holds a prompt and behind it, side by side, the K different actions that were taken there. Every action token has the
position that it would have right after the prompt, and sees the prompt and its own action only:

    ids        s t a t e ⟨end⟩ │ u p │ l e f t │ …
    positions  0 1 2 3 4 5     │ 6 7 │ 6 7 8 9 │ …

So its logits, and the gradient, are those of the prompt and that action alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from minillm.objectives import IGNORE
from minillm.tokenizer import CharTokenizer

PIECE_TOKENS = 4096


@dataclasses.dataclass(frozen=True)
class Packed:
    """A piece of a batch: what :meth:`GPT.forward` takes, and targets and coefficients (U, K·L) of its logits."""

    ids: np.ndarray
    at: np.ndarray
    positions: np.ndarray
    visible: np.ndarray
    targets: np.ndarray
    coefficients: np.ndarray


def pack(tokenizer: CharTokenizer, states: np.ndarray, action_ids: np.ndarray, c: np.ndarray) -> Iterator[Packed]:
    """Pack M decisions with coefficients c, in pieces of about ``PIECE_TOKENS`` tokens.

    Parameters
    ----------
    tokenizer : CharTokenizer
    states : str array of shape (M,)
    action_ids : integer array of shape (M, L), padded with −100
    c : float array of shape (M,)
        Coefficients of $\\log p(a_k\\mid s_k)$. Those of equal decisions are added; decisions with a sum of 0 are left out.
    """
    texts, state = np.unique(states, return_inverse=True)
    keys, same = np.unique(np.column_stack([state, action_ids]), axis=0, return_inverse=True)
    c = np.bincount(same.reshape(-1), weights=c)
    keys, c = keys[c != 0], c[c != 0]
    counts = np.bincount(keys[:, 0], minlength=len(texts))
    order = np.argsort(counts, kind="stable")  # rows with equally many actions together: little padding
    order = order[counts[order] > 0]
    prompts, lengths = tokenizer.encode_batch(texts)
    prompts = np.pad(prompts, ((0, 0), (0, 1)), constant_values=tokenizer.eos_token_id)
    first = np.cumsum(counts) - counts
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * (
            prompts.shape[1] + counts[order[stop]] * action_ids.shape[1]
        ) <= PIECE_TOKENS:
            stop += 1
        rows = order[start:stop]
        slots = np.arange(counts[rows].max())
        used = slots < counts[rows, None]
        index = np.where(used, first[rows, None] + slots, 0)
        actions = np.where(used[..., None], keys[index, 1:], IGNORE)
        yield _packed(prompts[rows], lengths[rows] + 1, actions, np.where(used, c[index], 0), tokenizer.eos_token_id)
        start = stop


def _packed(prompts: np.ndarray, lengths: np.ndarray, actions: np.ndarray, c: np.ndarray, pad: int) -> Packed:
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
        coefficients=np.repeat(c, L, axis=1),
    )
