import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import prefix_trees
from minillm.objectives import IGNORE
from minillm.prefix_trees import Forest

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12)
LIMITS = st.sampled_from([1, 5, 8, 100])


def padded(sequences):
    tokens = np.full((len(sequences), max(map(len, sequences))), IGNORE)
    for row, sequence in zip(tokens, sequences, strict=True):
        row[: len(sequence)] = sequence
    return tokens


def laid_out(forest, before, limit=100):
    """The prefix that each node asked for sees, read back from the pieces, in the order in which they were asked for."""
    found = {}
    for layout, asked, places in forest.pieces(before, limit, 9):
        for k, place in zip(asked, places, strict=True):
            row, n = divmod(int(place), layout.at.shape[1])
            seen = np.flatnonzero(layout.visible[row, 0, layout.at[row, n]])
            assert layout.positions[row, seen].tolist() == list(range(len(seen)))
            assert k not in found
            found[k] = layout.ids[row, seen].tolist()
    return [found[k] for k in range(len(before))]


@given(SEQUENCES, LIMITS, st.booleans())
def test_each_token_sees_what_comes_before_it_in_its_sequence(sequences, limit, in_order):
    sequences = sorted(sequences) if in_order else sequences
    forest = Forest(padded(sequences), limit)
    j, t = np.nonzero(padded(sequences) != IGNORE)
    assert laid_out(forest, forest.path[j, t], limit) == [sequences[a][: b + 1] for a, b in zip(j, t, strict=True)]


@given(SEQUENCES, LIMITS)
def test_a_row_has_a_node_for_each_different_prefix(sequences, limit):
    sequences = sorted(sequences)
    forest = Forest(padded(sequences), limit)
    row = forest.rows[forest.path[:, 0]]
    for number in range(len(forest.sizes)):
        of_row = [sequence for sequence, r in zip(sequences, row, strict=True) if r == number]
        prefixes = {tuple(sequence[: t + 1]) for sequence in of_row for t in range(len(sequence))}
        assert forest.sizes[number] == len(prefixes)
        assert len(prefixes) <= max(limit, max(map(len, of_row)))


def test_the_example_of_the_text(monkeypatch):
    monkeypatch.setattr(prefix_trees, "TOKEN_PAIRS", 100)
    a, b, end, u, p, s, x = range(7)
    forest = Forest(np.array([[a, b, end, u, p], [a, b, end, u, s], [a, x, end, u, p]]), 100)
    assert forest.ids.tolist() == [a, b, end, u, p, s, x, end, u, p]
    assert forest.depths.tolist() == [0, 1, 2, 3, 4, 4, 1, 2, 3, 4]
    assert forest.ends.tolist() == [10, 6, 6, 6, 5, 6, 10, 10, 10, 10]


@pytest.mark.parametrize("pairs", [0, 64, 1000])
def test_rows_are_as_long_as_costs_least(monkeypatch, pairs):
    """Of all numbers of sequences a row, none costs less a sequence than the one that fills the row, but for rounding."""
    monkeypatch.setattr(prefix_trees, "TOKEN_PAIRS", pairs)
    P, s = 30, 1
    tokens = np.zeros((500, P), int)
    tokens[:, -s:] = np.arange(500)[:, None]
    sizes = Forest(tokens, 10**6).sizes
    cost = {K: (P + K * s) * (pairs + P + K * s) / K for K in range(1, 500)}
    assert cost[int((sizes[0] - P) / s)] <= 1.001 * min(cost.values())


@given(st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_pieces_are_an_even_number_of_equal_parts(limit, seed):
    sizes = np.random.default_rng(seed).integers(1, 10, size=100)
    parts = prefix_trees._cut(sizes, limit)
    assert sorted(itertools.chain.from_iterable(parts)) == list(range(len(sizes)))
    if limit >= 40:  # pieces of several rows
        totals = [sizes[part].sum() for part in parts]
        assert len(parts) % 2 == 0
        assert max(totals) <= limit + 9
        assert max(totals) - min(totals) <= 2 * 9
