"""Numbers about noise, on cases that are known by hand."""

import numpy as np
import pytest

from minillm.lab.statistics import asymmetry, dead_group_share, effective_sample_size, gradient_noise_scale


def test_equal_weights_count_fully_and_one_weight_counts_as_one():
    assert effective_sample_size(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_sample_size(np.array([0, 5.0, 0])) == 1
    assert effective_sample_size(np.array([1.0, 1, 2])) == pytest.approx(16 / 6)
    assert effective_sample_size(np.zeros(3)) == 0


def test_groups_of_equal_returns_are_dead():
    returns = np.array([1.0, 1, 0, 1, 0, 0, 3])
    assert dead_group_share(returns, np.array([0, 0, 1, 1, 2, 2, 9])) == pytest.approx(3 / 4)
    assert dead_group_share(np.zeros(0), np.zeros(0)) == 0


def test_the_noise_scale_is_the_batch_at_which_noise_and_gradient_are_equal():
    gradient, trace = np.array([3.0, 4.0]), 50.0
    B = gradient_noise_scale(trace, gradient)
    assert B == 2
    assert trace / B == gradient @ gradient


def test_a_gradient_is_symmetric_and_a_rotation_is_not():
    theta = np.random.default_rng(0).normal(size=9)

    def gradient(x):
        return np.cos(x) * x.sum() + np.sin(x).sum()

    def rotation(x):
        return np.roll(x, 1) - np.roll(x, -1)

    for directions in (None, 4):
        assert asymmetry(gradient, theta, directions) < 1e-14
        assert asymmetry(rotation, theta, directions) == pytest.approx(2)
        mixed = asymmetry(lambda x: gradient(x) + 1e-3 * rotation(x), theta, directions)
        assert 1e-5 < mixed < 0.1
