import numpy as np
import pytest

from minillm.estimators import ESTIMATORS, Batch
from minillm.estimators.entropy import sequence_entropy, token_entropy, token_entropy_sampled
from minillm.estimators.forms import sequence_mean
from minillm.ops import log_softmax, log_softmax_backward


def one_token(p):
    with np.errstate(divide="ignore"):
        full = np.log([[p]])
    zeros = np.zeros((1, 1))
    return Batch(full[..., 0], zeros == 0, zeros, np.zeros(1, int), zeros.astype(int), full_log_probs=full)


def test_p_7_2_1():
    batch = one_token([0.7, 0.2, 0.1])
    assert token_entropy().surrogate(batch) == pytest.approx(0.8018, abs=5e-5)
    dz = log_softmax_backward(token_entropy().coefficients(batch), batch.full_log_probs)
    np.testing.assert_allclose(dz[0, 0], [-0.3116, 0.1615, 0.1501], atol=5e-5)


def test_p_6_4_0_has_no_nan():
    batch = one_token([0.6, 0.4, 0.0])
    assert token_entropy().surrogate(batch) == pytest.approx(0.6730, abs=5e-5)
    c = token_entropy().coefficients(batch)
    assert np.isfinite(c).all()
    assert c[0, 0, 2] == 0


def test_the_sequence_entropy_on_the_bed(bed, gradient_of):
    def entropy(theta):
        return -(bed.p(theta.reshape(7, 3)) * bed.log_probs(theta.reshape(7, 3)).sum(axis=1)).sum()

    mean = bed.moments(ESTIMATORS["sequence_entropy"]).mean
    np.testing.assert_allclose(mean, gradient_of(entropy, bed.theta), rtol=1e-11, atol=1e-13)


def test_token_entropy_dense_and_sampled_are_the_frozen_context_entropy_on_the_bed(bed, gradient_of):
    visits = np.zeros(7)
    np.add.at(visits, bed.context[bed.mask], np.repeat(bed.p(bed.theta), bed.mask.sum(axis=1)))

    def entropy(theta):
        log_p = log_softmax(theta.reshape(7, 3))[0]
        return -(visits[:, None] * np.exp(log_p) * log_p).sum()

    expected = gradient_of(entropy, bed.theta)
    dense, sampled = (bed.moments(ESTIMATORS[name]) for name in ("token_entropy", "token_entropy_sampled"))
    np.testing.assert_allclose(dense.mean, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(sampled.mean, expected, rtol=1e-11, atol=1e-13)
    assert dense.variance < sampled.variance
    assert np.linalg.norm(expected - bed.moments(ESTIMATORS["sequence_entropy"]).mean) > 0.05  # another function


def test_options_change_the_coefficients(random_batch):
    batch = random_batch(0)
    for make in (token_entropy, token_entropy_sampled, sequence_entropy):
        np.testing.assert_allclose(make(beta=0.5).coefficients(batch), make().coefficients(batch) / 2, rtol=1e-15)
    by_length = token_entropy_sampled(scale=sequence_mean).coefficients(batch)
    lengths = np.maximum(batch.lengths(), 1)[:, None]
    np.testing.assert_allclose(by_length, token_entropy_sampled().coefficients(batch) / lengths, rtol=1e-14)
