import numpy as np
import pytest

from minillm.estimators import ESTIMATORS
from minillm.lab.distribution import Along, along_the_gradient
from minillm.lab.moments import moments
from minillm.lab.setting import settings


@pytest.mark.parametrize("name", ["reinforce", "rloo", "grpo"])
def test_the_mean_along_the_gradient_is_that_of_the_moments(name):
    setting = settings()[0]
    expected = moments(setting, ESTIMATORS[name], 2).mean @ setting.gradient / (setting.gradient @ setting.gradient)
    along = along_the_gradient(ESTIMATORS[name], 2)
    assert along.weights.sum() == pytest.approx(1, rel=1e-12)
    assert along.mean == pytest.approx(expected, rel=1e-12)
    assert (abs(along.mean - 1) < 1e-12) == (name != "grpo")


def test_deviation_and_downhill_are_those_of_a_coin():
    coin = Along(np.array([-1.0, 3.0]), np.array([0.5, 0.5]))
    assert (coin.mean, coin.deviation, coin.downhill) == (1, 2, 0.5)
