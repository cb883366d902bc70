r"""Decisions packed for scoring and differentiation: what several of them have in common is computed once.

A decision is a prompt and an action. As sequences of tokens, in order, many begin alike: actions in one state share its prompt, states
that are drawn alike share the beginning of theirs. A row holds some of them as a tree: each different beginning (*prefix*) is one
node, which holds the last token of it, and behind a node stands all that goes on from it. With ``up`` and ``us`` in the state ``ab``,
and ``up`` in ``ax`` (all of them without the end token, which is a target only):

    ids        a  b ⟨end⟩ u p s  x  ⟨end⟩ u  p     the last token of each prefix
    positions  0  1 2     3 4 4  1  2     3  4     its place in the prefix
    end        10 6 6     6 5 6  10 10    10 10    the column before which what goes on from it ends

A node sees the nodes of its own prefix only: b is one of a's if $b \le a < \mathrm{end}_b$. So its logits, and the gradient, are those
of the prefix alone, and a node from which several decisions go on collects the gradients of all of them.

Longer rows have more in common and more pairs of tokens to attend to. Sequences of P tokens, K to a row, of which each adds s, cost
$(P+Ks)(\alpha+P+Ks)/K$ each, where a token costs as much as α pairs. The smallest cost is at $Ks=\sqrt{P(P+\alpha)}$, whatever s.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minillm.objectives import IGNORE
from minillm.tokenizer import Tokenizer

PIECE_TOKENS = 2048
PIECE_LOGITS = 1 << 25  # a vocabulary of more than 8,192 makes the pieces smaller
TOKEN_PAIRS = 64  # α, measured at the width of the main job; the optimum is flat


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
        chosen = np.flatnonzero(wanted)
        if not len(chosen):
            return
        texts, state = np.unique(self.state[chosen], return_inverse=True)
        prompts, lengths = (array[state] for array in tokenizer.encode_prompts(self.texts[texts]))
        actions = self.action_ids[chosen]
        limit = min(PIECE_TOKENS, PIECE_LOGITS // tokenizer.vocab_size)
        forest = _Forest(_sequences(prompts, lengths, actions), limit)
        decision, column = np.nonzero(actions != IGNORE)
        before = forest.path[decision, lengths[decision] + column - 1]  # the nodes that predict the tokens
        for rows in _pieces(forest.sizes, limit):
            layout, asked, places = forest.lay_out(rows, before, tokenizer.eos_token_id)
            yield Packed(*layout, places, actions[decision[asked], column[asked]], chosen[decision[asked]], column[asked])


class _Forest:
    """Sequences (W, S) as trees in rows, M nodes in all: within a row, each shares with the one before it what both begin with.

    Attributes
    ----------
    path : integer array of shape (W, S)
        The node of each token of each sequence.
    ids, depths, rows, slots, ends : integer arrays of shape (M,)
        Of each node: its token, its position in a sequence, its row and place in there, the place behind all that goes on from it.
    sizes : integer array
        How many nodes each row has.
    """

    def __init__(self, tokens: np.ndarray, limit: int) -> None:
        lengths, shared = (tokens != IGNORE).sum(axis=1), _shared(tokens)
        longest = int(lengths.max())
        row = _rows(lengths, shared, min(limit, longest + math.isqrt(longest * (longest + TOKEN_PAIRS))))
        first = np.diff(row, prepend=-1) > 0
        shared[first] = 0
        new = (shared[:, None] <= np.arange(tokens.shape[1])) & (tokens != IGNORE)
        sequence, self.depths = np.nonzero(new)
        M, begins = len(sequence), np.cumsum(lengths - shared) - (lengths - shared)
        starts = begins[first]
        self.path = np.maximum.accumulate(np.where(new, np.cumsum(new).reshape(new.shape) - 1, -1), axis=0)
        self.ids, self.rows, self.sizes = tokens[new], row[sequence], np.diff(starts, append=M)
        self.slots = np.arange(M) - starts[self.rows]
        goes_on = np.where(shared[:, None] <= np.arange(tokens.shape[1]), begins[:, None], M)  # not from the sequences before
        following = np.minimum.accumulate(np.append(goes_on[1:], np.full_like(goes_on[:1], M), axis=0)[::-1], axis=0)[::-1]
        self.ends = following[new] - starts[self.rows]

    def lay_out(self, rows: np.ndarray, before: np.ndarray, pad: int) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
        """Return ``ids, at, positions, visible`` of some rows; which of the nodes ``before`` are in them; and where in the logits."""
        number = np.full(len(self.sizes), -1)
        number[rows] = np.arange(len(rows))
        row = number[self.rows]
        U, T = len(rows), int(self.sizes[rows].max())
        nodes = row >= 0

        def table(values: np.ndarray, filler: int) -> np.ndarray:
            array = np.full((U, T), filler)
            array[row[nodes], self.slots[nodes]] = values[nodes]
            return array

        asked = np.flatnonzero(row[before] >= 0)
        wanted = np.zeros((U, T), dtype=bool)
        wanted[row[before[asked]], self.slots[before[asked]]] = True
        rank = np.cumsum(wanted, axis=1) - 1
        at = np.zeros((U, int(rank[:, -1].max()) + 1), dtype=np.int64)
        at[np.nonzero(wanted)[0], rank[wanted]] = np.nonzero(wanted)[1]
        places = row[before[asked]] * at.shape[1] + rank[row[before[asked]], self.slots[before[asked]]]
        ends = table(self.ends, T)  # padding sees padding: no row is empty
        visible = np.tri(T, dtype=bool) & (np.arange(T)[:, None] < ends[:, None])
        return (table(self.ids, pad), at, table(self.depths, 0), visible[:, None]), asked, places


def _sequences(prompts: np.ndarray, lengths: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The tokens (W, S) that are read, padded with −100: prompts (W, P) of some lengths, and actions (W, L) but for their last token."""
    P = prompts.shape[1]
    tokens = np.full((len(prompts), P + actions.shape[1]), IGNORE)
    tokens[:, :P] = np.where(np.arange(P) < lengths[:, None], prompts, IGNORE)
    written = np.where(actions[:, 1:] == IGNORE, IGNORE, actions[:, :-1])
    tokens[np.arange(len(prompts))[:, None], lengths[:, None] + np.arange(written.shape[1])] = written
    return tokens[:, : int((tokens != IGNORE).sum(axis=1).max())]


def _shared(tokens: np.ndarray) -> np.ndarray:
    """With how many tokens each sequence (W, S) begins as the one before it does."""
    same = (tokens[1:] == tokens[:-1]) & (tokens[1:] != IGNORE)
    return np.append(0, np.cumprod(same, axis=1).sum(axis=1))


def _rows(lengths: np.ndarray, shared: np.ndarray, limit: int) -> np.ndarray:
    """The row of each sequence: as many to a row, in their order, as have up to ``limit`` different prefixes."""
    rows, row, size = [], -1, limit
    for length, own in zip(lengths.tolist(), (lengths - shared).tolist(), strict=True):
        if row < 0 or size + own > limit:
            row, size = row + 1, length
        else:
            size += own
        rows.append(row)
    return np.array(rows)


def _pieces(sizes: np.ndarray, limit: int) -> list[np.ndarray]:
    """Cut rows, in the order of their sizes, into equal pieces of up to about ``limit`` tokens: as many for each of two cores."""
    order = np.argsort(sizes, kind="stable")  # little padding
    total, middle = sizes.sum(), np.cumsum(sizes[order]) - sizes[order] / 2
    number = math.ceil(total / limit)
    number += number > 1 and number % 2
    cuts = np.searchsorted(middle, total * np.arange(1, number) / number)
    return [rows for rows in np.split(order, cuts) if len(rows)]
