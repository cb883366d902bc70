import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import gradients
from minillm.gradients import default_parts, likelihood_gradient, weighted_gradient
from minillm.objectives import IGNORE, cross_entropy, weighted_log_likelihood
from minillm.transformer import GPT


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_the_gradient_is_the_sum_over_single_sequences(random_model, parts, seed):
    model, rng = random_model(), np.random.default_rng(seed)
    ids, targets, c = rng.integers(7, size=(5, 6)), rng.integers(7, size=(5, 6)), rng.normal(size=(5, 6))
    targets[rng.random(targets.shape) < 0.2] = IGNORE
    value, gradient = weighted_gradient(model, ids, targets, c, parts=parts)
    expected, total = 0.0, np.zeros_like(gradient)
    for b in range(5):
        logits, cache = model.forward(ids[b : b + 1])
        one, dlogits = weighted_log_likelihood(logits, targets[b : b + 1], c[b : b + 1])
        expected, total = expected + one, total + model.backward(dlogits, cache)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert np.abs(gradient - total).max() < 1e-13 * max(1, np.abs(total).max())


def test_the_number_of_parts_depends_on_the_sizes_alone(random_model, monkeypatch):
    model, ids = random_model(), np.zeros((8, 4), int)
    assert default_parts(model, ids) == 1
    monkeypatch.setattr(gradients, "SHARDED_WORK", 32 * model.parameters.vector.size)
    assert default_parts(model, ids) == gradients.SHARDS
    assert default_parts(model, np.zeros((1, 32), int)) == 1


def test_a_batch_in_any_number_of_parts_has_the_gradient_of_the_whole(random_model):
    model = random_model()
    ids, targets = np.random.default_rng(0).integers(7, size=(2, 7, 6))
    targets[2, 1:], targets[5] = IGNORE, IGNORE  # parts of different weight
    loss, gradient = likelihood_gradient(model, ids, targets, parts=1)
    for parts in (2, 3, 7, 50):
        again, other = likelihood_gradient(model, ids, targets, parts=parts)
        assert abs(again - loss) < 1e-14
        assert np.abs(other - gradient).max() < 1e-14 * max(1, np.abs(gradient).max())


def test_each_part_of_a_batch_has_dropout_of_its_own_and_a_seed_repeats_it(random_model):
    plain = random_model()
    model = GPT.from_vector(dataclasses.replace(plain.config, resid_pdrop=0.5), plain.parameters.vector)
    ids = np.tile([1, 2, 3, 4], (2, 1))  # twice the same row: the same gradient, were it not for dropout
    loss, gradient = likelihood_gradient(model, ids, ids, parts=2, rng=0)
    again, other = likelihood_gradient(model, ids, ids, parts=2, rng=0)
    assert (loss, gradient.tobytes()) == (again, other.tobytes())
    logits, _ = model.forward(ids[:1], rng=np.random.default_rng(0).spawn(2)[0])
    second, _ = model.forward(ids[1:], rng=np.random.default_rng(0).spawn(2)[1])
    assert (logits != second).any()
    assert loss == pytest.approx((cross_entropy(logits, ids[:1])[0] + cross_entropy(second, ids[1:])[0]) / 2, rel=1e-14)
    assert likelihood_gradient(model, ids, ids)[0] == likelihood_gradient(plain, ids, ids)[0]
