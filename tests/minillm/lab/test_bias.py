"""The labels of the estimators are true, and a wrong estimator would be seen."""

import numpy as np
import pytest

from minillm.lab import bias
from minillm.returns import mean_advantages


@pytest.mark.parametrize("measure", [bias.one_turn, bias.many_turns])
def test_every_label_is_true(measure):
    for label, error in measure():
        assert error < 1e-12, label


def test_a_baseline_with_the_own_episode_in_it_is_seen(monkeypatch):
    def with_itself(returns, groups, episodes=None):
        return mean_advantages(returns, groups)

    monkeypatch.setattr("minillm.returns.leave_one_out_advantages", with_itself)
    for measure in (bias.one_turn, bias.many_turns):
        errors = dict(measure())
        assert all((error > 0.1) == ("leave_one_out" in label) for label, error in errors.items()), errors


def test_forgetting_to_divide_by_the_number_of_episodes_is_seen(monkeypatch):
    coefficients = bias.coefficients
    monkeypatch.setattr(bias, "coefficients", lambda experience, baseline: 3 * coefficients(experience, baseline))
    np.testing.assert_allclose([error for _, error in bias.many_turns()], 2)
