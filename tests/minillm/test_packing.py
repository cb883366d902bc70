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


def unpacked(pieces):
    """Read the pieces back: a list of ((state ids, action ids), coefficient)."""
    found = []
    for piece, coefficients in pieces:
        for row, targets in enumerate(piece.targets):
            for slot in np.flatnonzero(piece.at[row] == piece.at[row, 0]):
                action = []
                for column in range(slot, len(targets)):
                    if targets[column] == IGNORE or (column > slot and piece.at[row, column] == piece.at[row, 0]):
                        break
                    action.append(int(targets[column]))
                if action:
                    prompt = piece.ids[row, : piece.at[row, 0] + 1].tolist()
                    found.append(((tuple(prompt), tuple(action)), float(coefficients[row, slot])))
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
    assert len(found) == len(dict(found))
    assert dict(found) == {key: c for key, c in expected.items() if c != 0}


@given(DECISIONS)
def test_the_logits_of_a_packed_action_are_those_of_it_alone(random_model, decisions):
    model = random_model(tied=False, vocab_size=4, n_positions=8)
    for piece, _ in pack(*arrays(decisions)):
        z, _ = model.forward(piece.ids, at=piece.at, positions=piece.positions, visible=piece.visible)
        for row in range(len(z)):
            prompt = piece.ids[row, : piece.at[row, 0] + 1].tolist()
            action = []
            for column, target in enumerate(piece.targets[row]):
                if piece.at[row, column] == piece.at[row, 0]:
                    action = []
                if target != IGNORE:
                    alone, _ = model.forward(np.array([*prompt, *action]))
                    assert np.abs(z[row, column] - alone[-1]).max() < 1e-12
                action.append(int(target))


def test_nothing_to_differentiate_is_no_piece():
    states, ids, c = arrays([("a", [0], 1.0), ("a", [0], -1.0), ("b", [], 0.0)])
    assert pack(states, ids, c) == []


@pytest.mark.parametrize(("bound", "value"), [("PIECE_TOKENS", 30), ("PIECE_LOGITS", 30 * TOKENIZER.vocab_size)])
def test_pieces_hold_about_as_many_tokens_as_they_should(monkeypatch, bound, value):
    monkeypatch.setattr(packing, bound, value)
    decisions = [(a + b, [x], 1.0) for a in "abc" for b in "abc" for x in range(3)]
    pieces = pack(*arrays(decisions))
    assert len(pieces) > 1
    assert all(piece.ids.size <= 30 for piece, _ in pieces)


@given(DECISIONS, st.sampled_from([1, 12, 4096]), st.sampled_from([(), (3,)]))
def test_values_spread_to_the_logits_are_collected_again(decisions, piece, axes):
    states, ids, _ = arrays(decisions)
    every = Decisions(states, ids)
    values = np.random.default_rng(0).normal(size=(*every.action_ids.shape, *axes))
    found = np.zeros_like(values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "PIECE_TOKENS", piece)
        for part in every.pack(TOKENIZER, np.ones(len(values), dtype=bool)):
            part.collect(part.spread(values), found)
    assert (found == values).all()


def test_weights_of_equal_decisions_are_added_token_by_token():
    states, ids, _ = arrays([("a", [0], 1.0), ("a", [0, 1], 1.0), ("a", [0], 1.0)])
    decisions = Decisions(states, ids)
    weights = np.arange(9.0).reshape(3, 3)
    assert decisions.same.tolist()[0] == decisions.same.tolist()[2]
    assert decisions.add(weights)[decisions.same].tolist() == [[6, 8, 0], [3, 4, 5], [6, 8, 0]]  # nothing beyond the end token
