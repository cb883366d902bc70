import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.estimators.weights import RATIO, ppo_clipped, truncated

WEIGHTS = {"ratio": RATIO, "ppo": ppo_clipped(0.8, 1.2), "between": truncated(0.9, 1.1), "below": truncated(0.0, 1.1)}
NUMBERS = st.integers(-256, 256).map(lambda n: n / 128)


@pytest.mark.parametrize("name", WEIGHTS)
@given(x=NUMBERS, A=NUMBERS)
def test_the_slope_is_the_derivative_of_the_value(name, x, A, derivative):
    weight = WEIGHTS[name]
    expected = derivative(lambda y: weight.value(y, np.array([A])), np.array([x]), np.ones(1))
    np.testing.assert_allclose(weight.slope(np.array([x]), np.array([A])), expected, rtol=1e-14)


@pytest.mark.parametrize("name", WEIGHTS)
@given(A=NUMBERS)
def test_at_the_old_policy_the_slope_is_the_advantage_to_the_bit(name, A):
    assert WEIGHTS[name].slope(np.zeros(1), np.array([A])) == A


@pytest.mark.parametrize(("rho", "A", "expected"), [(1.5, -1, -1.5), (0.5, 1, 0.5), (1.5, 1, 0), (0.5, -1, 0), (1.1, 1, 1.1), (1.5, 0, 0)])
def test_ppo_clip_at_epsilon_0_2(rho, A, expected):
    """A bad token that has become likelier is pushed down all the same (wrong: 0)."""
    slope = ppo_clipped(0.8, 1.2).slope(np.log([rho]), np.array([float(A)]))
    assert slope == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(("x", "A"), [(0.7, 1.0), (0.7, -1.0), (-0.7, 1.0), (-0.7, -1.0), (0.1, -2.0)])
def test_the_clipped_value_is_the_smaller_of_the_two(x, A):
    rho = np.exp(x)
    assert ppo_clipped(0.8, 1.2).value(np.array([x]), np.array([A])) == min(rho * A, np.clip(rho, 0.8, 1.2) * A)


@pytest.mark.parametrize(("rho", "expected"), [(0.5, 0.9), (1.05, 1.05), (3.0, 1.1)])
def test_a_truncated_ratio_keeps_every_slope(rho, expected):
    assert truncated(0.9, 1.1).slope(np.log([rho]), np.array([2.0])) == pytest.approx(2 * expected, rel=1e-15)


def test_the_value_of_a_truncated_ratio_is_continuous():
    for bound in (0.9, 1.1):
        x, A = np.log(bound) + np.array([-1e-12, 1e-12]), np.ones(2)
        assert np.ptp(truncated(0.9, 1.1).value(x, A)) < 1e-11


def test_a_token_of_probability_zero_has_ratio_zero():
    for weight in (RATIO, ppo_clipped(0.8, 1.2), truncated(0.0, 1.1)):
        assert weight.slope(np.array([-np.inf]), np.ones(1)) == 0
