import dataclasses

import numpy as np
import pytest

from minillm.estimators import ESTIMATORS, Batch, Estimator
from minillm.estimators.advantages import group_normalised
from minillm.estimators.clipped import cispo, dapo, dr_grpo, grpo, gspo, ppo_clip, reinforce_plus_plus
from minillm.estimators.forms import constant, per_episode, sequence_mean
from minillm.lab.moments import field, moments
from minillm.lab.setting import settings
from minillm.lab.statistics import asymmetry
from minillm.returns import mean_advantages


def batch_of(rho, rewards, lengths, **fields):
    """Episodes of one group, reward at the last token, all ratios of an episode alike."""
    N, T = len(rho), max(lengths)
    mask = np.arange(T) < np.array(lengths)[:, None]
    r = np.zeros((N, T))
    r[np.arange(N), np.array(lengths) - 1] = rewards
    x = np.repeat(np.log(np.array(rho, dtype=float))[:, None], T, axis=1)
    return Batch(x, mask, r, np.zeros(N, int), np.where(mask, 0, -1), old_log_probs=np.zeros((N, T)), **fields)


@pytest.mark.parametrize(("rho", "A", "expected"), [(1.5, -1, -1.5), (0.5, 1, 0.5), (1.5, 1, 0), (0.5, -1, 0)])
def test_ppo_clip_at_epsilon_0_2(rho, A, expected):
    c = ppo_clip().coefficients(batch_of([rho], [A], [1], values=np.zeros((1, 1))))
    assert c[0, 0] == pytest.approx(expected, rel=1e-15)


def test_lengths_2_and_8():
    """A = ±1/√2; per sequence 1/(2·|o|), per token 1/10, neither for dr_grpo."""
    batch, A = batch_of([1, 1], [1, -1], [2, 8]), 0.5**0.5
    each, whole, none = (A / 4, -A / 16), (A / 10, -A / 10), (0.5, -0.5)
    for estimator, expected in ((grpo(), each), (gspo(), each), (dapo(), whole), (dr_grpo(), none)):
        np.testing.assert_allclose(estimator.coefficients(batch)[:, 0], expected, rtol=1e-14)


def test_clip_higher_keeps_what_1_2_would_drop():
    batch, A = batch_of([1.25, 1.25], [1, -1], [1, 1]), 0.5**0.5
    np.testing.assert_allclose(grpo().coefficients(batch)[:, 0], [0, -1.25 * A / 2], rtol=1e-14)
    np.testing.assert_allclose(dapo().coefficients(batch)[:, 0], [1.25 * A / 2, -1.25 * A / 2], rtol=1e-14)


def test_cispo_drops_no_token():
    batch, A = batch_of([3, 0.1], [1, -1], [1, 1]), 0.5**0.5
    np.testing.assert_allclose(cispo().coefficients(batch)[:, 0], [1.2 * A / 2, -0.1 * A / 2], rtol=1e-14)


def test_gspo_has_the_geometric_mean_of_the_ratios():
    batch, A = batch_of([1, 1], [1, -1], [2, 4]), 0.5**0.5
    x = np.log([[1.5, 0.6, 1, 1], [2, 0.5, 1, 1.0]])
    c = gspo(0.2, 0.2).coefficients(dataclasses.replace(batch, log_probs=x))
    np.testing.assert_allclose(c[0, :2], 0.9**0.5 * A / 4, rtol=1e-14)
    np.testing.assert_allclose(c[1], -A / 8, rtol=1e-14)


def test_a_dead_group_pulls_nothing_and_stays_in_the_mean_over_tokens():
    batch = batch_of([1, 1, 1, 1], [1, 1, 1, -1], [3, 2, 1, 4])
    c = dapo().coefficients(dataclasses.replace(batch, groups=np.array([0, 0, 1, 1])))
    assert (c[:2] == 0).all()
    np.testing.assert_allclose(c[2, 0], 0.5**0.5 / 10, rtol=1e-15)


def test_dr_grpo_on_the_bed_is_half_the_gradient_at_g_2(bed, gradient_of):
    exact = gradient_of(lambda theta: bed.value(theta.reshape(7, 3)), bed.theta)
    half = bed.moments(ESTIMATORS["dr_grpo"], 2).mean
    assert np.linalg.norm(half - exact / 2) < 1e-13 * np.linalg.norm(exact)
    assert ESTIMATORS["dr_grpo"].factor(2) == 0.5


@pytest.mark.parametrize("name", ["grpo", "dapo", "reinforce++", "cispo", "gspo"])
def test_what_is_labelled_so_is_no_gradient(name, bed):
    """The Jacobian of E[ĝ] at G = 2 is not symmetric: no function has it as its gradient."""
    theta, h = bed.theta, 1e-5

    def mean(at):
        moved = type(bed)()
        moved.theta = at.reshape(7, 3)
        return moved.moments(ESTIMATORS[name], 2).mean.ravel()

    # three logits are enough to see it
    picked, flat = (0, 3, 7), theta.ravel()
    jacobian = np.array([(mean(flat + h * np.eye(21)[k]) - mean(flat - h * np.eye(21)[k]))[list(picked)] / (2 * h) for k in picked])
    assert np.abs(jacobian - jacobian.T).max() > 1e-4
    assert ESTIMATORS[name].objective == "no gradient of any function"
    assert ESTIMATORS[name].factor is None


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (ppo_clip, {"epsilon": 0.05}), (ppo_clip, {"gamma": 0.9}), (ppo_clip, {"lam": 0.5}), (grpo, {"epsilon": 0.05}), (grpo, {"ddof": 0}),
        (dr_grpo, {"epsilon": 0.05}), (dapo, {"epsilon_low": 0.05}), (dapo, {"epsilon_high": 0.05}), (dapo, {"ddof": 0}),
        (reinforce_plus_plus, {"epsilon": 0.05}), (reinforce_plus_plus, {"gamma": 0.5}), (cispo, {"epsilon_low": 0.05}),
        (cispo, {"epsilon_high": 0.05}), (cispo, {"ddof": 0}), (gspo, {"epsilon_low": 0.5}), (gspo, {"epsilon_high": 0.5}),
        (gspo, {"ddof": 0}),
    ],
)  # fmt: skip
def test_every_option_changes_a_coefficient(make, options, random_batch):
    batches = [random_batch(seed, N=8) for seed in range(5)]
    assert any((make(**options).coefficients(batch) != make().coefficients(batch)).any() for batch in batches)


def group_mean(scale, weight=lambda batch: mean_advantages(batch.total_rewards(), batch.groups)):
    return Estimator("part of grpo", "", "", "", *constant(weight, scale), coupled=True)


@pytest.mark.parametrize("G", [2, 3])
def test_the_length_alone_makes_grpo_no_gradient(G):
    setting = settings()[0]
    bed, lengths = setting.bed, setting.bed.mask.sum(axis=1)
    gradient = lambda f: setting.gradient_of(lambda table: (setting.probabilities(table) * f).sum())  # noqa: E731
    expected = (1 - 1 / G) * (gradient(bed.returns / lengths) - setting.J * gradient(1 / lengths))
    by_length = group_mean(sequence_mean)
    np.testing.assert_allclose(moments(setting, by_length, G).mean, expected, atol=1e-14)
    assert asymmetry(field(setting, by_length, G), setting.theta, 4) > 0.1


@pytest.mark.parametrize("G", [2, 3])
def test_the_standard_deviation_alone_makes_no_gradient_of_three_rewards_but_one_of_two(G):
    many = settings()[0]
    rewards = np.where(many.bed.mask, 0, many.bed.rewards)
    rewards[np.arange(len(rewards)), many.bed.mask.sum(axis=1) - 1] = many.bed.returns > 0.5
    two = dataclasses.replace(many, bed=dataclasses.replace(many.bed, rewards=rewards))
    by_deviation = group_mean(per_episode, lambda batch: group_normalised(batch.total_rewards(), batch.groups))
    assert asymmetry(field(many, by_deviation, G), many.theta, 4) > 0.1
    assert asymmetry(field(two, by_deviation, G), two.theta, 4) < 1e-14
