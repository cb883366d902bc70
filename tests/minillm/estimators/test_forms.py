import dataclasses

import numpy as np
import pytest

from minillm.estimators import Batch
from minillm.estimators.forms import constant, per_episode, sequence_level, sequence_mean, token_level, token_mean
from minillm.estimators.weights import RATIO


def signs(batch):
    return np.array([1.0, -1.0])


@pytest.fixture
def two_and_eight():
    mask = np.arange(8) < np.array([[2], [8]])
    zeros = np.zeros((2, 8))
    return Batch(zeros, mask, zeros, np.zeros(2, int), np.where(mask, 0, -1))


@pytest.mark.parametrize(
    ("scale", "expected"), [(per_episode, (0.5, -0.5)), (sequence_mean, (0.25, -0.0625)), (token_mean, (0.1, -0.1))]
)
def test_lengths_2_and_8_with_advantages_1_and_minus_1(scale, expected, two_and_eight):
    for form in (constant(signs, scale), token_level(signs, RATIO, scale)):
        c = form.coefficients(two_and_eight)
        np.testing.assert_allclose(c[0], [expected[0]] * 2 + [0] * 6, rtol=1e-15)
        np.testing.assert_allclose(c[1], expected[1], rtol=1e-15)


def test_a_sequence_has_one_ratio_and_its_mean_one_over_the_length(two_and_eight):
    batch = dataclasses.replace(two_and_eight, old_log_probs=np.full((2, 8), -0.1))
    np.testing.assert_allclose(sequence_level(signs, RATIO).coefficients(batch)[:, 0], [np.exp(0.2) / 2, -np.exp(0.8) / 2], rtol=1e-14)
    mean = sequence_level(signs, RATIO, mean=True).coefficients(batch)[:, 0]
    np.testing.assert_allclose(mean, [np.exp(0.1) / 4, -np.exp(0.1) / 16], rtol=1e-14)


def test_an_episode_of_probability_zero_without_a_coefficient_leaves_f_finite(two_and_eight):
    batch = dataclasses.replace(two_and_eight, log_probs=np.array([[-np.inf] * 8, [-1.0] * 8]))
    assert constant(lambda b: np.array([0.0, 1.0])).surrogate(batch) == -4


@pytest.mark.parametrize("scale", [per_episode, sequence_mean, token_mean])
def test_nothing_to_count_is_nothing_to_divide_by(scale):
    mask = np.zeros((2, 3), bool)
    assert np.isfinite(scale(Batch(np.zeros((2, 3)), mask, np.zeros((2, 3)), np.zeros(2, int), -np.ones((2, 3), int)))).all()
    assert len(scale(Batch(np.zeros((0, 3)), mask[:0], np.zeros((0, 3)), np.zeros(0, int), np.zeros((0, 3), int)))) == 0
