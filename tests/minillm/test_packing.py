import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import packing
from minillm.objectives import IGNORE
from minillm.packing import Decisions
from minillm.tokenizer import CharTokenizer

TOKENIZER = CharTokenizer("abc")
END = TOKENIZER.eos_token_id
ACTIONS = st.lists(st.integers(0, 2), max_size=2)
COEFFICIENTS = st.sampled_from([-2.0, 0.5, 1.0, 2.0])
DECISIONS = st.lists(st.tuples(st.text("abc", max_size=3), ACTIONS, COEFFICIENTS), min_size=1, max_size=9)


def arrays(decisions):
    width = max(len(action) for _, action, _ in decisions) + 1
    ids = np.array([[*action, END, *[IGNORE] * (width - len(action) - 1)] for _, action, _ in decisions])
    return np.array([state for state, _, _ in decisions]), ids, np.array([c for _, _, c in decisions])


def pack(states, ids, c):
    """The pieces that have a coefficient, each with its coefficients at the logits."""
    decisions = Decisions(states, ids)
    total = decisions.add(np.broadcast_to(c[:, None], ids.shape))
    return [(piece, piece.spread(total)) for piece in decisions.pack(TOKENIZER, (total != 0).any(axis=1))]


def prefix(piece, row, column):
    """The tokens that a node sees, in the order of their positions, which must be 0, 1, …"""
    seen = np.flatnonzero(piece.visible[row, 0, column])
    assert piece.positions[row, seen].tolist() == list(range(len(seen)))
    return tuple(piece.ids[row, seen].tolist())


def unpacked(pieces):
    """Read the pieces back: a list of (decision, column of the token, (prefix, token), coefficient)."""
    found = []
    for piece, coefficients in pieces:
        rows, columns = np.divmod(piece.places, piece.at.shape[1])
        for k, (row, column) in enumerate(zip(rows, piece.at[rows, columns], strict=True)):
            number = int(piece.decisions[k]), int(piece.columns[k])
            found.append((*number, (prefix(piece, row, column), int(piece.targets[k])), float(coefficients[k])))
    return found


@given(DECISIONS, st.sampled_from([1, 12, 4096]))
def test_each_different_decision_is_packed_once_with_the_sum_of_its_coefficients(decisions, piece):
    expected = {}
    for state, action, c in decisions:
        key = (*TOKENIZER.encode(state).tolist(), END), (*action, END)
        expected[key] = expected.get(key, 0.0) + c
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "PIECE_TOKENS", piece)
        found = unpacked(pack(*arrays(decisions)))
    assert len({token[:2] for token in found}) == len(found)
    tokens = [
        ((*prompt, *action[:t]), action[t], c)
        for (prompt, action), c in expected.items()
        if c != 0
        for t in range(len(action))
    ]
    assert sorted((*step, c) for _, _, step, c in found) == sorted(tokens)


@given(DECISIONS)
def test_what_decisions_in_a_row_have_in_common_is_read_once(decisions):
    for piece, _ in pack(*arrays(decisions)):
        for row in range(len(piece.ids)):
            used = np.flatnonzero(piece.visible[row, 0].any(axis=0) & ~padding(piece, row))
            prefixes = [prefix(piece, row, column) for column in used]
            assert len(set(prefixes)) == len(prefixes)


def padding(piece, row):
    """Which nodes of a row are none: those behind the last that predicts a token."""
    asked = piece.places[piece.places // piece.at.shape[1] == row] % piece.at.shape[1]
    return np.arange(piece.ids.shape[1]) > piece.at[row, asked].max()


@given(DECISIONS)
def test_the_logits_of_a_packed_token_are_those_of_its_prefix_alone(random_model, decisions):
    model = random_model(tied=False, vocab_size=4, n_positions=8)
    for piece, _ in pack(*arrays(decisions)):
        z, _ = model.forward(piece.ids, at=piece.at, positions=piece.positions, visible=piece.visible)
        for place in piece.places:
            row, column = divmod(int(place), piece.at.shape[1])
            alone, _ = model.forward(np.array(prefix(piece, row, piece.at[row, column])))
            assert np.abs(z[row, column] - alone[-1]).max() < 1e-12


def test_nothing_to_differentiate_is_no_piece():
    states, ids, c = arrays([("a", [0], 1.0), ("a", [0], -1.0), ("b", [], 0.0)])
    assert pack(states, ids, c) == []


@pytest.mark.parametrize(("bound", "value"), [("PIECE_TOKENS", 300), ("PIECE_LOGITS", 300 * TOKENIZER.vocab_size)])
def test_pieces_hold_about_as_many_tokens_as_they_should(monkeypatch, bound, value):
    monkeypatch.setattr(packing, bound, value)
    decisions = [("".join(state), [x], 1.0) for state in itertools.product("abc", repeat=5) for x in range(3)]
    sizes = [piece.ids.size for piece, _ in pack(*arrays(decisions))]
    assert len(sizes) > 2
    assert len(sizes) % 2 == 0
    assert max(sizes) <= 330
    assert max(sizes) - min(sizes) <= 60


@given(DECISIONS, st.sampled_from([1, 12, 4096]), st.sampled_from([(), (3,)]))
def test_values_spread_to_the_logits_are_collected_again(decisions, piece, axes):
    states, ids, _ = arrays(decisions)
    every = Decisions(states, ids)
    values = np.random.default_rng(0).normal(size=(*every.action_ids.shape, *axes))
    expected, found = np.zeros((2, *values.shape))
    expected[every.action_ids != IGNORE] = values[every.action_ids != IGNORE]  # nothing beyond the end token
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "PIECE_TOKENS", piece)
        for part in every.pack(TOKENIZER, np.ones(len(values), dtype=bool)):
            part.collect(part.spread(values), found)
    assert (found == expected).all()


@given(DECISIONS, st.sampled_from([1, 100, 1 << 62]))
def test_decisions_are_in_the_order_of_state_and_ids(decisions, most):
    states, ids, _ = arrays(decisions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "MOST", most)
        every = Decisions(states, ids)
    found = [(str(every.texts[state]), *action) for state, action in zip(every.state, every.action_ids.tolist(), strict=True)]
    steps = [(str(state), *action) for state, action in zip(states, ids.tolist(), strict=True)]
    assert found == sorted(set(steps))
    assert [found[k] for k in every.same] == steps


def test_weights_of_equal_decisions_are_added_token_by_token():
    states, ids, _ = arrays([("a", [0], 1.0), ("a", [0, 1], 1.0), ("a", [0], 1.0)])
    decisions = Decisions(states, ids)
    weights = np.arange(9.0).reshape(3, 3)
    assert decisions.same.tolist()[0] == decisions.same.tolist()[2]
    assert decisions.add(weights)[decisions.same].tolist() == [[6, 8, 0], [3, 4, 5], [6, 8, 0]]  # nothing beyond the end token
