"""Mean and covariance by enumeration: the published numbers, Monte Carlo, the plain sum over ordered tuples."""

import itertools

import numpy as np
import pytest
from scipy import stats

from minillm.estimators import ESTIMATORS, Estimator
from minillm.lab.moments import enumerate_estimates, field, moments, tuple_coefficients, tuples
from minillm.lab.setting import Setting
from minillm.lab.statistics import asymmetry


def episodewise(advantage, needs=()):
    """An estimator that treats each episode alone, with the coefficient A (N,) or (N, T) over N."""

    def coefficients(batch):
        A = np.asarray(advantage(batch))
        return np.where(batch.mask, A[:, None] if A.ndim == 1 else A, 0) / len(batch)

    return Estimator("made here", "", "", "", coefficients, needs=needs)


def bias(setting, m, factor=1.0):
    return np.linalg.norm(m.mean - factor * setting.gradient) / np.linalg.norm(setting.gradient)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def best_constant(setting):
    norms = setting.whole.score_norms
    return (setting.p * setting.bed.returns * norms).sum() / (setting.p * norms).sum()


def test_reinforce_is_exact_with_variance_2_377(published):
    m = moments(published, ESTIMATORS["reinforce"], 2)
    assert bias(published, m) < 1e-12
    assert m.variance == pytest.approx(2.377, abs=5e-4)


def test_reward_to_go_is_exact_with_variance_2_421_and_does_not_always_lower_the_variance(published, all_settings):
    m = moments(published, ESTIMATORS["reward_to_go"], 2)
    assert bias(published, m) < 1e-12
    assert m.variance == pytest.approx(2.421, abs=5e-4)
    lower = [moments(s, ESTIMATORS["reward_to_go"], 2).variance < moments(s, ESTIMATORS["reinforce"], 2).variance for s in all_settings]
    assert not lower[0]
    assert any(lower)


def test_the_expected_return_as_baseline_has_variance_2_001(published):
    m = moments(published, episodewise(lambda batch: batch.total_rewards() - published.J), 2)
    assert bias(published, m) < 1e-12
    assert m.variance == pytest.approx(2.001, abs=5e-4)


def test_the_best_constant_baseline_is_0_577_with_variance_1_922(published):
    b = best_constant(published)
    assert b == pytest.approx(0.5765, abs=5e-5)  # 0.57650, which the table of cases rounds to 0.577
    m = moments(published, episodewise(lambda batch: batch.total_rewards() - b), 2)
    assert bias(published, m) < 1e-12
    assert m.variance == pytest.approx(1.922, abs=5e-4)


def test_the_optimal_baseline_beats_every_other_constant_on_a_grid(all_settings):
    for setting in all_settings:
        best = best_constant(setting)

        def variance(b, setting=setting):
            return moments(setting, episodewise(lambda batch: batch.total_rewards() - b), 2).variance

        least = variance(best)
        for b in np.concatenate([np.linspace(-3, 3, 41), best + np.array([-1e-3, 1e-3])]):
            assert variance(b) > least, (setting.name, b)


def test_the_exact_value_as_baseline_has_variance_1_537(published):
    m = moments(published, ESTIMATORS["value_baseline"], 2)
    assert bias(published, m) < 1e-12
    assert m.variance == pytest.approx(1.537, abs=5e-4)


def test_all_actions_with_the_exact_q_have_variance_0_146(published):
    m = moments(published, ESTIMATORS["all_action"], 2)
    assert bias(published, m) < 1e-12
    assert m.variance == pytest.approx(0.146, abs=5e-4)


def test_RLOO_of_two_is_unbiased_with_more_variance_than_no_baseline(published, all_settings):
    m = moments(published, ESTIMATORS["rloo"], 2)
    assert bias(published, m) < 1e-12
    assert m.variance == pytest.approx(5.92, abs=5e-3)
    assert all(moments(s, ESTIMATORS["rloo"], 2).variance > moments(s, ESTIMATORS["reinforce"], 2).variance for s in all_settings)


def test_the_group_mean_with_self_of_two_is_exactly_half_with_variance_1_48(published):
    m = moments(published, ESTIMATORS["mean_baseline"], 2)
    assert bias(published, m, 0.5) < 1e-12
    assert m.variance == pytest.approx(1.48, abs=5e-3)


def test_the_coefficient_of_a_set_on_sampled_actions_is_off_by_0_737(published):
    assert bias(published, moments(published, ESTIMATORS["expected_reward"], 2)) == pytest.approx(0.737, abs=5e-4)


def test_over_the_set_of_all_actions_it_is_exact(published):
    c = ESTIMATORS["expected_reward"].coefficients(published.batch(np.arange(15)))
    estimate = published.spread(c).sum(axis=0) @ published.scores
    np.testing.assert_allclose(estimate, published.gradient, rtol=0, atol=1e-14)


def test_the_stop_token_dropped_has_cosine_0_420(published):
    """With reward-to-go; with the total return 0.429: the rewards before a token no longer cancel when some tokens are left out."""
    bed, kept = published.bed, published.bed.tokens != 0

    def of(advantage):
        return published.p @ published.spread(np.where(bed.mask & kept, advantage, 0)) @ published.scores

    assert cosine(of(bed.rewards_to_go), published.gradient) == pytest.approx(0.420, abs=5e-4)
    assert cosine(of(bed.returns[:, None]), published.gradient) == pytest.approx(0.429, abs=5e-4)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_k1_in_the_loss_has_expectation_zero(all_settings, level):
    for setting in all_settings:
        m = moments(setting, ESTIMATORS[f"kl_k1_loss_{level}"], 2)
        assert np.linalg.norm(m.mean) < 1e-12 * np.linalg.norm(setting.gradient)
        assert m.variance > 0.1


def test_a_value_that_is_wrong_changes_the_noise_and_not_the_mean_but_of_gae_the_mean(all_settings):
    for setting in all_settings:
        for name, unbiased in (("value_baseline", True), ("a2c", True), ("gae", False)):
            made = ESTIMATORS[name]

            def wrong(batch, made=made):
                return made.coefficients(type(batch)(**{**vars(batch), "values": np.sin(3 * batch.values) + 0.5}))

            m = moments(setting, Estimator("wrong V", "", "", "", wrong, needs=("values",)), 2)
            assert (bias(setting, m) < 1e-12) == unbiased, (setting.name, name)
            assert m.variance != pytest.approx(moments(setting, made, 2).variance, rel=1e-3)


@pytest.mark.parametrize("G", [2, 3])
def test_multisets_weigh_what_ordered_tuples_weigh(published, G):
    rows, weights = tuples(published, G)
    assert weights.sum() == pytest.approx(1, abs=1e-14)
    assert len(rows) == {2: 120, 3: 680}[G]
    estimator, mean, second = ESTIMATORS["grpo"], 0.0, 0.0
    for i in itertools.product(range(15), repeat=G):
        c = estimator.coefficients(published.batch(np.array(i)))
        g = c.reshape(-1) @ published.scores[published.bed.flat[list(i)].reshape(-1)]
        p = published.p[list(i)].prod()
        mean, second = mean + p * g, second + p * (g @ g)
    m = moments(published, estimator, G)
    np.testing.assert_allclose(m.mean, mean, atol=1e-14)
    assert m.second == pytest.approx(second, rel=1e-13)
    assert m.variance == pytest.approx(G * (second - mean @ mean), rel=1e-12)


def test_groups_share_their_start(all_settings):
    dialogue = all_settings[4]
    rows, weights = tuples(dialogue, 2)
    start = dialogue.bed.start[rows]
    assert (start[:, 0] == start[:, 1]).all()
    assert weights[start[:, 0] == 0].sum() == pytest.approx(0.6, abs=1e-14)


@pytest.mark.parametrize("name", ["reinforce", "rloo", "grpo", "dapo", "all_action", "token_entropy_sampled"])
def test_exact_moments_equal_monte_carlo_within_its_own_error(published, name):
    estimator, rng, G = ESTIMATORS[name], np.random.default_rng(11), 2
    m = moments(published, estimator, G)
    drawn = rng.choice(15, size=(4000, G if estimator.coupled else 1), p=published.p)
    kinds, kind = np.unique(drawn, axis=0, return_inverse=True)
    c = tuple_coefficients(published, estimator, kinds)[kind.reshape(-1)]
    W = published.spread(c.reshape(-1, *c.shape[2:]), drawn.reshape(-1)).reshape(*drawn.shape, -1).sum(axis=1)
    g = W @ published.scores
    squares = m.episodes * ((g - m.mean) ** 2).sum(axis=1)
    assert stats.ttest_1samp(squares, m.variance).pvalue > 0.01
    assert stats.ttest_1samp(squares, 1.1 * m.variance).pvalue < 0.01  # it can tell
    assert stats.ttest_1samp(g @ published.gradient, m.mean @ published.gradient).pvalue > 0.01
    dead = (c.reshape(len(c), -1) == 0).all(axis=1).sum()
    assert stats.binomtest(int(dead), len(c), float(m.dead)).pvalue > 0.01


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_episodes_in_another_order_have_their_coefficients_in_that_order(published, name):
    """What lets a multiset stand for all its orders."""
    estimator, i = ESTIMATORS[name], np.array([4, 0, 9, 4, 13])
    order = np.array([2, 4, 1, 0, 3])
    c = estimator.coefficients(published.batch(i, estimator.needs))
    other = estimator.coefficients(published.batch(i[order], estimator.needs))
    np.testing.assert_allclose(other, c[order], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", sorted(name for name, estimator in ESTIMATORS.items() if not estimator.coupled))
def test_an_estimator_that_is_not_coupled_treats_each_episode_alone(published, name):
    estimator, i = ESTIMATORS[name], np.array([4, 0, 9, 4, 13])
    c = estimator.coefficients(published.batch(i, estimator.needs))
    alone = np.concatenate([estimator.coefficients(published.batch(i[[j]], estimator.needs)) for j in range(5)])
    N = 1 if name == "expected_reward" else 5  # a sum over a set is not divided
    np.testing.assert_allclose(N * c, alone, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("name", ["rloo", "grpo", "dapo", "reinforce++", "dpo", "optimal_baseline"])
def test_evaluation_in_one_call_equals_evaluation_one_by_one(published, name):
    estimator = ESTIMATORS[name]
    rows, _ = tuples(published, 3)
    rows = rows[::7]
    one_by_one = np.stack([estimator.coefficients(published.batch(i, estimator.needs)) for i in rows])
    np.testing.assert_allclose(tuple_coefficients(published, estimator, rows), one_by_one, rtol=1e-12, atol=1e-15)


def test_a_coefficient_off_the_mask_is_an_error(published):
    careless = Estimator("careless", "", "", "", lambda batch: np.ones(batch.mask.shape))
    with pytest.raises(ValueError, match="careless: coefficients off the mask"):
        moments(published, careless, 2)


def test_the_probability_of_a_dead_group(published):
    """RLOO's group is dead when all G episodes are the same one: no two of the bed have equal returns."""
    for G in (2, 3):
        assert moments(published, ESTIMATORS["rloo"], G).dead == pytest.approx((published.p**G).sum(), rel=1e-13)
    assert moments(published, ESTIMATORS["reinforce"], 2).dead == 0


def test_estimates_have_the_probabilities_of_their_batches(published):
    W, weights, dead = enumerate_estimates(published, ESTIMATORS["rloo"], 2)
    assert W.shape == (120, 21)
    assert weights.sum() == pytest.approx(1)
    assert dead.sum() == 15


def test_GRPO_is_the_gradient_of_nothing_and_RLOO_of_something(published):
    """Its Jacobian at θ, all of it, is not symmetric."""
    assert asymmetry(field(published, ESTIMATORS["grpo"], 2), published.theta) > 0.4
    assert asymmetry(field(published, ESTIMATORS["rloo"], 2), published.theta) < 1e-12


def test_with_two_rewards_and_no_length_GRPO_of_two_is_the_success_probability(published):
    r"""The folklore's case: $E[\hat g] = \nabla P(R = 1)/\sqrt2$. With more rewards, or lengths, it is nothing's gradient."""

    def coefficients(batch):
        won = np.where(batch.total_rewards() > 0.5, 1.0, 0.0)
        A = (won - won.mean()) / (won.std(ddof=1) or 1)
        return np.where(batch.mask, A[:, None], 0) / len(batch)

    m = moments(published, Estimator("two rewards", "", "", "", coefficients, coupled=True), 2)
    won = np.where(published.bed.returns > 0.5, 1.0, 0.0)
    assert won.min() < won.max()
    success = published.gradient_of(lambda L: (published.probabilities(L) * won).sum())
    np.testing.assert_allclose(m.mean, success / np.sqrt(2), atol=1e-14)


def test_a_setting_that_samples_from_the_old_policy_does(published):
    old = published.sampled_from_old()
    m = moments(old, ESTIMATORS["reinforce"], 2)
    assert isinstance(old, Setting)
    assert bias(published, m) > 0.01
    expected = old.spread((old.drawn * old.bed.returns)[:, None] * old.bed.mask).sum(axis=0) @ old.scores
    np.testing.assert_allclose(m.mean, expected, atol=1e-14)
