"""The value head: its gradient by complex step, where it lies in θ, and that it changes nothing else."""

import dataclasses

import numpy as np
import pytest

from minillm.config import GPTConfig
from minillm.errors import UserError
from minillm.transformer import GPT


@pytest.mark.parametrize("tied", [True, False])
def test_the_gradient_through_logits_and_values_equals_the_complex_step(random_model, gradient_of, worst_block, tied):
    model = random_model(tied=tied, value_head=True)
    rng = np.random.default_rng(0)
    ids = rng.integers(7, size=(2, 5))
    at = np.array([[1, 4, 4], [0, 2, 3]])
    dlogits, dvalues = rng.normal(size=(2, 3, 7)), rng.normal(size=(2, 3))

    def value(theta):
        other = GPT.from_vector(model.config, theta)
        logits, cache = other.forward(ids, at=at)
        return (logits * dlogits).sum() + (other.values(cache) * dvalues).sum()

    _, cache = model.forward(ids, at=at)
    assert model.values(cache).shape == (2, 3)
    gradient = model.backward(dlogits, cache, dvalues)
    assert worst_block(model, gradient, gradient_of(value, model.parameters.vector)) < 1e-13
    assert (model.parameters.like(gradient)["v_head.summary.weight"] != 0).all()
    assert (model.parameters.like(model.backward(dlogits, cache))["v_head.summary.weight"] == 0).all()


def test_a_value_head_starts_at_zero_and_changes_nothing_else():
    config = GPTConfig(vocab_size=7, n_positions=6, n_embd=8, n_layer=2, n_head=2)
    plain, headed = GPT(config, rng=0), GPT(dataclasses.replace(config, value_head=True), rng=0)
    P = plain.parameters.vector.size
    assert list(headed.parameters)[-2:] == ["v_head.summary.weight", "v_head.summary.bias"]
    assert (headed.parameters.vector[:P] == plain.parameters.vector).all()
    assert (headed.parameters.vector[P:] == 0).all()
    assert headed.parameters.vector.size == P + 8 + 1
    logits, cache = headed.forward(np.array([[1, 2]]))
    assert (logits == plain.forward(np.array([[1, 2]]))[0]).all()
    with pytest.raises(UserError, match="the model has no value head"):
        plain.values(cache)
