r"""Sequences of tokens as trees: what several begin with is one path of nodes, computed once.

Each different beginning (*prefix*) is a node, which holds its last token; behind a node stands all that goes on from it. A row holds
some sequences, in order, that begin alike. With ``ab⟨end⟩up``, ``ab⟨end⟩us`` and ``ax⟨end⟩up``:

    ids        a  b ⟨end⟩ u p s  x  ⟨end⟩ u  p     the last token of each prefix
    positions  0  1 2     3 4 4  1  2     3  4     its place in the prefix
    end        10 6 6     6 5 6  10 10    10 10    the column before which what goes on from it ends

A node sees the nodes of its own prefix only: b is one of a's if $b \le a < \mathrm{end}_b$. So its logits, and the gradient, are those
of the prefix alone, and a node from which several sequences go on collects the gradients of all of them.

Longer rows have more in common and more pairs of tokens to attend to. Sequences of P tokens, K to a row, of which each adds s, cost
$(P+Ks)(\alpha+P+Ks)/K$ each, where a token costs as much as α pairs. The smallest cost is at $Ks=\sqrt{P(P+\alpha)}$, whatever s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minillm.objectives import IGNORE

TOKEN_PAIRS = 64  # α, measured at the width of the main job; the optimum is flat


class Layout(NamedTuple):
    """What :meth:`GPT.forward` takes: U rows of T nodes, of which n are asked for their logits."""

    ids: np.ndarray
    at: np.ndarray
    positions: np.ndarray
    visible: np.ndarray


class Forest:
    """Sequences as trees in rows, M nodes in all: within a row, each shares with the one before it what both begin with.

    Parameters
    ----------
    tokens : integer array of shape (W, S), padded on the right with −100
        In an order that brings those together that begin alike.
    limit : int
        The longest row, but for a sequence that is longer by itself.

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

    def pieces(self, before: np.ndarray, limit: int, pad: int) -> Iterator[tuple[Layout, np.ndarray, np.ndarray]]:
        """Lay the rows out in pieces of about ``limit`` tokens.

        Parameters
        ----------
        before : integer array of shape (N,)
            The nodes that are asked for their logits, repetitions allowed.
        limit : int
        pad : int
            The token of padding.

        Yields
        ------
        layout : Layout
        asked : integer array of shape (n,)
            Which of the N are in this piece.
        places : integer array of shape (n,)
            Where in its logits, as rows (U·n, V), they are.
        """
        return (self._lay_out(rows, before, pad) for rows in _cut(self.sizes, limit))

    def _lay_out(self, rows: np.ndarray, before: np.ndarray, pad: int) -> tuple[Layout, np.ndarray, np.ndarray]:
        U, T = len(rows), int(self.sizes[rows].max())
        number = np.full(len(self.sizes), -1)
        number[rows] = np.arange(U)
        nodes = np.flatnonzero(number[self.rows] >= 0)
        columns = np.full(len(self.rows), -1)
        columns[nodes] = number[self.rows[nodes]] * T + self.slots[nodes]

        def table(values: np.ndarray, filler: int) -> np.ndarray:
            array = np.full((U, T), filler)
            array.reshape(-1)[columns[nodes]] = values[nodes]
            return array

        asked = np.flatnonzero(columns[before] >= 0)
        at, places = _at(columns[before[asked]], U, T)
        ends = table(self.ends, T)  # padding sees padding: no token sees nothing
        visible = np.tri(T, dtype=bool) & (np.arange(T)[:, None] < ends[:, None])
        return Layout(table(self.ids, pad), at, table(self.depths, 0), visible[:, None]), asked, places


def _at(columns: np.ndarray, U: int, T: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns (U, n) of each row that are asked for, each once, and where in there each of those asked for is."""
    wanted = np.zeros((U, T), dtype=bool)
    wanted.reshape(-1)[columns] = True
    rank = np.cumsum(wanted, axis=1) - 1
    at = np.zeros((U, int(rank[:, -1].max()) + 1), dtype=np.int64)
    row, column = np.nonzero(wanted)
    at[row, rank[row, column]] = column
    return at, columns // T * at.shape[1] + rank.reshape(-1)[columns]


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


def _cut(sizes: np.ndarray, limit: int) -> list[np.ndarray]:
    """Cut rows, in the order of their sizes, into equal pieces of up to about ``limit`` tokens: as many for each of two cores."""
    order = np.argsort(sizes, kind="stable")  # little padding
    total, middle = sizes.sum(), np.cumsum(sizes[order]) - sizes[order] / 2
    number = math.ceil(total / limit)
    number += number > 1 and number % 2
    cuts = np.searchsorted(middle, total * np.arange(1, number) / number)
    return [rows for rows in np.split(order, cuts) if len(rows)]
