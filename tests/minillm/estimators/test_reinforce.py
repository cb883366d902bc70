import numpy as np
import pytest

from minillm.estimators import ESTIMATORS, Batch
from minillm.estimators.reinforce import constant_baseline, reward_to_go
from minillm.objectives import weighted_log_likelihood
from minillm.ops import log_softmax


def gradient_of_j(bed, gradient_of):
    return gradient_of(lambda theta: bed.value(theta.reshape(7, 3)), bed.theta)


def score_norms(bed):
    """‖∇ log p‖² of the 15 episodes."""
    rows = [np.array([i]) for i in range(len(bed.mask))]
    return np.array([(bed.gradient(i, bed.mask[i].astype(float)) ** 2).sum() for i in rows])


def relative_error(mean, exact):
    return np.linalg.norm(mean - exact) / np.linalg.norm(exact)


def test_j_of_the_bed(bed):
    assert bed.value(bed.theta) == pytest.approx(0.8167721908, abs=5e-11)


@pytest.mark.parametrize(
    ("estimator", "G", "factor", "variance"),
    [
        (ESTIMATORS["reinforce"], 1, 1, 2.377), (ESTIMATORS["reward_to_go"], 1, 1, 2.421), (constant_baseline(0.8167721908), 1, 1, 2.001),
        (constant_baseline(0.577), 1, 1, 1.922), (ESTIMATORS["rloo"], 2, 1, 5.92), (ESTIMATORS["mean_baseline"], 2, 0.5, 1.48),
        (ESTIMATORS["reinforce"], 2, 1, 2.377),
    ],
)  # fmt: skip
def test_expectation_and_variance_on_the_bed(estimator, G, factor, variance, bed, gradient_of):
    """Leave-one-out at G = 2 has more variance than no baseline, reward-to-go too; the mean with self is exactly half."""
    exact, moments = gradient_of_j(bed, gradient_of), bed.moments(estimator, G)
    assert relative_error(moments.mean, factor * exact) < 1e-13
    assert moments.variance == pytest.approx(variance, abs=5e-3 if G == 2 else 5e-4)
    if estimator.factor is not None:
        assert estimator.factor(G) == factor


def test_no_constant_beats_the_optimal_one(bed):
    norms, p = score_norms(bed), bed.p(bed.theta)
    best = (p * bed.rewards.sum(axis=1) * norms).sum() / (p * norms).sum()
    assert best == pytest.approx(0.5765, abs=5e-5)
    least = bed.moments(constant_baseline(best)).variance
    for b in np.linspace(-2, 3, 51):
        assert bed.moments(constant_baseline(b)).variance > least


def test_the_optimal_baseline_is_unbiased_without_the_own_sample_alone(bed, gradient_of):
    exact, norms = gradient_of_j(bed, gradient_of), score_norms(bed)
    without = bed.moments(ESTIMATORS["optimal_baseline_loo"], 2, score_norms=norms)
    with_it = bed.moments(ESTIMATORS["optimal_baseline"], 2, score_norms=norms)
    assert relative_error(without.mean, exact) < 1e-13
    assert relative_error(with_it.mean, exact) > 0.1


def test_coefficient_r_times_p_is_exact_over_the_set_and_wrong_over_samples(bed, gradient_of):
    exact, every = gradient_of_j(bed, gradient_of), np.arange(15)
    over_set = bed.gradient(every, ESTIMATORS["expected_reward"].coefficients(bed.batch(every)))
    assert relative_error(over_set, exact) < 1e-14
    sampled = bed.moments(ESTIMATORS["expected_reward"]).mean
    assert relative_error(sampled, exact) == pytest.approx(0.737, abs=5e-4)


def test_the_stop_token_dropped_from_reward_to_go_gives_cosine_0_42(bed, gradient_of):
    """Its reward stays in the returns before it; only its own coefficient is lost."""
    exact, mean = gradient_of_j(bed, gradient_of), np.zeros((7, 3))
    for i, p in enumerate(bed.p(bed.theta)):
        row = np.array([i])
        c = ESTIMATORS["reward_to_go"].coefficients(bed.batch(row))
        mean += p * bed.gradient(row, np.where(bed.tokens[row] == 0, 0, c))
    cosine = (mean * exact).sum() / np.linalg.norm(mean) / np.linalg.norm(exact)
    assert cosine == pytest.approx(0.420, abs=5e-4)


def test_the_stop_token_of_probability_one_quarter_has_gradient_three_quarters():
    logits = np.log([[[0.25, 0.75]]])
    ell = log_softmax(logits)[0][..., 0]
    batch = Batch(ell, np.ones((1, 1), bool), np.ones((1, 1)), np.zeros(1, int), np.zeros((1, 1), int))
    _, dlogits = weighted_log_likelihood(logits, np.zeros((1, 1), int), ESTIMATORS["reinforce"].coefficients(batch))
    assert dlogits[0, 0, 0] == pytest.approx(0.75, rel=1e-15)  # wrong: 0, the stop token dropped


def test_an_episode_without_a_stop_token_is_like_any_other(bed):
    cut_off = np.array([3])
    assert bed.tokens[3].tolist() == [1, 1, 1]
    np.testing.assert_allclose(ESTIMATORS["reinforce"].coefficients(bed.batch(cut_off)), bed.rewards[3].sum(), rtol=1e-15)


def test_a_remainder_has_the_rule_of_its_baseline():
    """Rewards 1, 2, 3 in groups of two."""
    batch = Batch(np.zeros((3, 1)), np.ones((3, 1), bool), np.array([[1.0], [2], [3]]), np.array([0, 0, 1]), np.zeros((3, 1), int))
    three = {name: (3 * ESTIMATORS[name].coefficients(batch)[:, 0]).tolist() for name in ("rloo", "mean_baseline")}
    assert three == {"rloo": [-1, 1, 1.5], "mean_baseline": [-0.5, 0.5, 0]}


def test_options_change_the_coefficients(random_batch):
    batch = random_batch(0)
    for make in (reward_to_go, constant_baseline):
        assert (make(0.9).coefficients(batch) != make(0.8).coefficients(batch)).any()
    assert reward_to_go(0.9).objective == "no gradient of any function"
    assert reward_to_go(0.9).factor is None
