"""The whole model: bad input is named; dropout asks for a source of random numbers."""

import dataclasses

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.transformer import GPT

IDS = np.array([[1, 3, 3, 0, 5], [2, 1, 1, 1, 6]])  # repeated tokens; 6 pads


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((1, 7), int), "7 tokens do not fit into n_positions = 6"),
        (np.array([[0, 1], [2, 7]]), "id 7 at row 1, position 1 is outside of vocab_size = 7"),
        (np.array([0, -1]), "id -1 at row 0, position 1 is outside of vocab_size = 7"),
        (np.array([[0.5]]), r"ids must be integers of shape \(B, T\) or \(T,\), got float64 of shape \(1, 1\)"),
        (np.zeros((1, 1, 1), int), r"got int64 of shape \(1, 1, 1\)"),
    ],
)
def test_bad_ids_are_named(random_model, ids, message):
    with pytest.raises(UserError, match=message):
        random_model().forward(ids)


@pytest.mark.parametrize("column", [-1, 5])
def test_a_column_outside_of_the_row_is_named(random_model, column):
    with pytest.raises(UserError, match=rf"at must hold columns from 0 to 4, got {min(column, 2)} to {max(column, 2)}"):
        random_model().forward(IDS, at=np.array([[2], [column]]))


DROPPED = {"resid_pdrop": 0.3, "embd_pdrop": 0.2, "attn_pdrop": 0.4}


@pytest.mark.parametrize("names", [(name,) for name in DROPPED] + [tuple(DROPPED)])
def test_the_gradient_through_dropout_is_exact_and_each_key_acts(random_model, derivative, names):
    plain = random_model(n_positions=8)
    config = dataclasses.replace(plain.config, **{name: DROPPED[name] for name in names})
    rng = np.random.default_rng(0)
    ids, theta = rng.integers(7, size=(2, 6)), plain.parameters.vector
    logits, cache = GPT.from_vector(config, theta).forward(ids, rng=9)
    u, v = rng.normal(size=logits.shape), rng.normal(size=theta.shape)
    gradient = GPT.from_vector(config, theta).backward(u, cache)
    tangent = derivative(lambda x: GPT.from_vector(config, x).forward(ids, rng=9)[0], theta, v)
    assert abs((tangent * u).sum() - gradient @ v) < 1e-14 * np.linalg.norm(gradient) * np.linalg.norm(v)
    assert (logits != plain.forward(ids)[0]).any()


def test_a_forward_without_rng_drops_nothing(random_model):
    plain = random_model()
    config = dataclasses.replace(plain.config, **DROPPED)
    ids = np.array([[1, 2, 3]])
    assert (GPT.from_vector(config, plain.parameters.vector).forward(ids)[0] == plain.forward(ids)[0]).all()
