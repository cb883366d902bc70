"""What a setting calls exact: J, ∇J, scores, values; each by a second way."""

import numpy as np
import pytest

from minillm.lab.differentiate import complex_gradient, complex_step
from minillm.lab.exact import bed_return_gradient
from minillm.returns import reward_to_go


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def test_the_published_J(published):
    assert pytest.approx(0.8167721908, abs=5e-11) == published.J


def test_J_and_its_gradient_by_enumeration_by_dynamic_programming_and_by_complex_step(all_settings):
    for setting in all_settings:
        J, W = bed_return_gradient(setting.bed, setting.log_pi)
        assert pytest.approx(J, abs=1e-14) == setting.J, setting.name
        assert relative(setting.gradient, W @ setting.scores) < 1e-13, setting.name
        v = np.random.default_rng(0).normal(size=setting.theta.size)
        along = complex_step(lambda theta, s=setting: s.at(theta).J, setting.theta, v)
        assert setting.gradient @ v == pytest.approx(along, abs=1e-14), setting.name


def test_scores_are_the_gradients_of_the_log_probabilities(all_settings):
    for setting in all_settings:
        if setting.theta.size < 100:
            exact = complex_gradient(lambda theta, s=setting: s.at(theta).log_pi.reshape(-1), setting.theta)
            assert relative(setting.scores.T, exact) < 1e-14
        v = np.random.default_rng(1).normal(size=setting.theta.size)
        along = complex_step(lambda theta, s=setting: s.at(theta).log_pi.reshape(-1), setting.theta, v)
        assert np.abs(setting.scores @ v - along).max() < 1e-13
        mean = np.exp(setting.log_pi).reshape(-1)[:, None] * setting.scores
        assert np.abs(mean.reshape(*setting.log_pi.shape, -1).sum(axis=1)).max() < 1e-15


def test_a_gradient_of_a_function_of_the_table(all_settings):
    for setting in all_settings:
        entropy = setting.gradient_of(lambda L: -(np.exp(L) * L).sum())
        v = np.random.default_rng(2).normal(size=setting.theta.size)
        along = complex_step(lambda theta, s=setting: -(np.exp(s.at(theta).log_pi) * s.at(theta).log_pi).sum(), setting.theta, v)
        assert entropy @ v == pytest.approx(along, abs=1e-14)


def test_values_are_those_of_the_table_by_dynamic_programming(all_settings):
    for setting in all_settings:
        bed, whole = setting.bed, setting.whole
        policy = np.exp(np.where(bed.decisions >= 0, setting.log_pi.reshape(-1)[bed.decisions], 0).sum(axis=-1))
        policy[bed.mdp.terminal] = 0
        V = bed.mdp.state_values(policy)
        state = {prompt: s for s, prompt in enumerate(bed.prompts)}
        for i in range(len(bed.chance)):
            step = 0
            for t in np.flatnonzero(bed.mask[i]):
                s = state.get(bed.contexts[bed.context[i, t]])
                if s is not None:  # a turn begins; the tokens of one text are steps of the table
                    assert whole.values[i, t] == pytest.approx(V[step, s], abs=1e-14)
                    step += 1


def test_values_are_the_mean_of_the_action_values_and_of_the_rewards_to_go(all_settings):
    for setting in all_settings:
        bed, whole = setting.bed, setting.whole
        pi = np.exp(setting.log_pi)[bed.context]
        assert np.abs(((pi * whole.q).sum(axis=-1) - whole.values)[bed.mask]).max() < 1e-14
        surprise = reward_to_go(bed.rewards, bed.mask) - np.take_along_axis(whole.q, bed.tokens[..., None], axis=-1)[..., 0]
        assert abs(setting.p @ np.where(bed.mask, surprise, 0).sum(axis=1)) < 1e-14


def test_a_batch_holds_what_is_asked_for_and_no_more(published):
    batch = published.batch(np.array([3, 3, 1]), ("values",))
    assert batch.values.shape == (3, 3)
    assert batch.q is None
    np.testing.assert_array_equal(batch.old_log_probs, batch.log_probs)
    assert np.abs(published.sampled_from_old().batch(np.array([3])).log_ratio()).max() > 0.01
    np.testing.assert_array_equal(batch.rewards[0], published.bed.rewards[3])


def test_score_norms_are_those_of_whole_episodes(all_settings):
    for setting in all_settings:
        norms = setting.whole.score_norms
        for i in (0, 5, 11):
            rows = setting.scores[setting.bed.flat[i, setting.bed.mask[i]]]
            assert norms[i] == pytest.approx(rows.sum(axis=0) @ rows.sum(axis=0), rel=1e-12)


def test_the_three_policies_differ(all_settings):
    for setting in all_settings:
        for other in (setting.log_old, setting.log_ref):
            assert np.abs(other - setting.log_pi).max() > 0.05
