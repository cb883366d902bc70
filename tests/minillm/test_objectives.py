import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.objectives import (
    IGNORE,
    cross_entropy,
    expected_reward,
    reinforce,
    token_log_probs,
    weighted_log_likelihood,
)
from minillm.ops import log_softmax
from minillm.returns import BASELINES

LN = np.log


def batch(seed=0, B=3, T=4, V=5, scale=2.0):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, scale, (B, T, V)), rng.integers(V, size=(B, T))
    targets[0, 2:] = targets[1, 0] = IGNORE
    return logits, targets, rng


def loop_log_probs(logits, targets):
    ell = np.zeros(targets.shape)
    for i, t in np.ndindex(targets.shape):
        if targets[i, t] != IGNORE:
            row = logits[i, t]
            ell[i, t] = row[targets[i, t]] - max(row) - LN(sum(np.exp(value - max(row)) for value in row))
    return ell


def assert_gradient(f, logits, gradient_of, bound=1e-13):
    """``f(logits) -> (value, dlogits)`` against the complex step of its value."""
    reference = gradient_of(lambda z: f(z)[0], logits)
    assert np.abs(f(logits)[1] - reference).max() <= bound * np.abs(reference).max()


def test_log_probs_equal_the_loop():
    logits, targets, _ = batch()
    np.testing.assert_allclose(token_log_probs(logits, targets), loop_log_probs(logits, targets), rtol=1e-13)


def test_token_two_follows_logits_0_1_2():
    logits = np.array([[[0.0, 1, 2], [1, 0, 0]]])
    assert token_log_probs(logits, np.array([[2, IGNORE]]))[0, 0] == pytest.approx(-0.4076, abs=5e-5)  # wrong: −1.5514


def test_minus_infinity_beside_the_target_is_no_loss_and_no_gradient():
    for dtype in (np.float32, np.float64, np.complex128):
        value, dlogits = cross_entropy(np.array([[[-np.inf, 0]]], dtype), np.array([[1]]))
        assert value == 0
        assert dlogits.tolist() == [[[0, 0]]]


def test_all_targets_ignored_is_loss_zero_and_gradient_zero():
    logits, targets, _ = batch()
    value, dlogits = cross_entropy(logits, np.full_like(targets, IGNORE))
    assert value == 0
    assert (dlogits == 0).all()


def test_ignored_positions_have_dlogits_exactly_zero():
    logits, targets, rng = batch()
    for f in (
        lambda z: cross_entropy(z, targets),
        lambda z: expected_reward(z, targets, rng.normal(size=3)),
        lambda z: reinforce(z, targets, rng.normal(size=3)),
    ):
        _, dlogits = f(logits)
        assert (dlogits[targets == IGNORE] == 0).all()
        assert (dlogits[targets != IGNORE] != 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_stands_at_ignored_positions_is_not_looked_at(bad):
    """Masks select: neither a coefficient nor a logit that is not finite gets past one."""
    logits, targets, rng = batch()
    c = rng.normal(size=targets.shape)
    value, dlogits = weighted_log_likelihood(logits, targets, c)
    c[targets == IGNORE] = bad
    logits[targets == IGNORE, 1] = np.nan
    value_too, dlogits_too = weighted_log_likelihood(logits, targets, c)
    assert value_too == value
    assert (dlogits_too == dlogits).all()
    assert np.isfinite(token_log_probs(logits, targets)).all()


def test_old_log_probabilities_behind_a_mask_do_not_spread():
    logits = np.array([[[0.0, 0.0], [np.nan, np.nan]]])
    assert token_log_probs(logits, np.array([[0, IGNORE]])).tolist() == [[-LN(2), 0]]
    value, dlogits = cross_entropy(logits, np.array([[0, IGNORE]]))
    assert value == LN(2)
    assert dlogits.tolist() == [[[-0.5, 0.5], [0, 0]]]


@pytest.mark.parametrize("target", [-1, -99, -101, 5, 10**6])
def test_a_target_outside_of_the_vocabulary_is_named_with_its_position(target):
    logits, targets, _ = batch()
    targets[2, 1] = target
    for f in (cross_entropy, token_log_probs):
        with pytest.raises(UserError, match=rf"target {target} at position \(2, 1\) is neither -100 nor below 5"):
            f(logits, targets)


def test_shapes_that_do_not_fit_are_named():
    logits, targets, _ = batch()
    with pytest.raises(UserError, match=r"targets must have shape \(3, 4\) to fit the logits, got \(3, 3\)"):
        cross_entropy(logits, targets[:, 1:])
    with pytest.raises(UserError, match=r"rewards must have shape \(3,\), got \(2,\)"):
        reinforce(logits, targets, np.ones(2))
    with pytest.raises(UserError, match="baseline must be one of none, mean, leave_one_out, got 'value'"):
        reinforce(logits, targets, np.ones(3), baseline="value")


def test_cross_entropy_is_the_mean_over_targets_that_count():
    logits, targets, _ = batch()
    value, _ = cross_entropy(logits, targets)
    assert value == pytest.approx(-loop_log_probs(logits, targets).sum() / (targets != IGNORE).sum(), rel=1e-13)


def test_micro_batches_of_one_and_nine_tokens_are_one_batch_of_ten():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(2, 9, 4)), rng.integers(4, size=(2, 9))
    targets[0, 1:] = IGNORE
    value, dlogits = cross_entropy(logits, targets)
    parts = [cross_entropy(logits[i : i + 1], targets[i : i + 1], num_items_in_batch=10) for i in range(2)]
    assert sum(part[0] for part in parts) == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(np.concatenate([part[1] for part in parts]), dlogits, rtol=1e-14)


def test_token_losses_4_and_1_1_1_average_to_1_75():
    """Two micro-batches; a loss of L nats on token 0 of two: logits (−log(e^L − 1), 0)."""
    logits = np.zeros((2, 3, 2))
    for (i, t), loss in {(0, 0): 4.0, (1, 0): 1.0, (1, 1): 1.0, (1, 2): 1.0}.items():
        logits[i, t, 0] = -LN(np.expm1(loss))
    targets = np.array([[0, IGNORE, IGNORE], [0, 0, 0]])
    parts = [cross_entropy(logits[i : i + 1], targets[i : i + 1], num_items_in_batch=4)[0] for i in range(2)]
    assert sum(parts) == pytest.approx(1.75, rel=1e-14)  # wrong: 2.5, the mean of means
    assert cross_entropy(logits, targets)[0] == pytest.approx(1.75, rel=1e-14)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_the_order_of_the_axes_in_memory_changes_nothing(axes):
    logits, targets, rng = batch()
    c = rng.normal(size=targets.shape)
    moved = np.ascontiguousarray(logits.transpose(axes)).transpose(np.argsort(axes))
    value, dlogits = weighted_log_likelihood(moved, targets, c)
    expected, expected_dlogits = weighted_log_likelihood(logits, targets, c)
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(dlogits, expected_dlogits, rtol=0, atol=1e-15)
    np.testing.assert_allclose(token_log_probs(moved, targets), token_log_probs(logits, targets), rtol=1e-14)


@given(st.integers(0, 10**6))
def test_gradients_equal_the_complex_step(gradient_of, seed):
    logits, targets, rng = batch(seed, T=3, V=3)
    c, rewards = rng.normal(size=(3, 1)), rng.normal(size=3)
    assert_gradient(lambda z: weighted_log_likelihood(z, targets, c), logits, gradient_of)
    assert_gradient(lambda z: cross_entropy(z, targets), logits, gradient_of)
    assert_gradient(lambda z: expected_reward(z, targets, rewards), logits, gradient_of)
    assert_gradient(lambda z: reinforce(z, targets, rewards, "none"), logits, gradient_of)


def test_gradient_rows_sum_to_zero():
    logits, targets, rng = batch()
    _, dlogits = weighted_log_likelihood(logits, targets, rng.normal(size=targets.shape))
    assert np.abs(dlogits.sum(-1)).max() < 1e-15


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex64, np.complex128])
def test_the_dtype_of_the_logits_comes_out_and_nothing_is_written_to(dtype):
    logits, targets, rng = batch()
    logits, rewards = logits.astype(dtype), rng.normal(size=3)
    for array in (logits, targets, rewards):
        array.setflags(write=False)
    for value, dlogits in (
        cross_entropy(logits, targets),
        expected_reward(logits, targets, rewards),
        *(reinforce(logits, targets, rewards, baseline) for baseline in BASELINES),
    ):
        assert np.iscomplexobj(value) == np.iscomplexobj(logits)
        assert dlogits.dtype == dtype
    assert cross_entropy(logits, targets)[0].dtype == dtype


def test_expected_reward_over_the_whole_set_is_the_expectation():
    """Every string of one token out of three: J = Σ p·r, dJ/dz = p·(r − J)."""
    z, r = np.array([0.3, -1.0, 0.7]), np.array([1.0, 5.0, -2.0])
    p = np.exp(log_softmax(z)[0])
    J, dlogits = expected_reward(np.tile(z, (3, 1, 1)), np.arange(3)[:, None], r)
    assert pytest.approx(p @ r, rel=1e-14) == J
    np.testing.assert_allclose(dlogits.sum(axis=(0, 1)), p * (r - J), rtol=1e-13)


def test_the_set_and_the_sample_differ_by_p():
    """Rule 5: the coefficient over a set is r·p(b), over samples r/N."""
    logits, targets, rng = batch()
    rewards = rng.normal(size=3)
    p = np.exp(loop_log_probs(logits, targets).sum(-1))
    _, of_set = expected_reward(logits, targets, rewards)
    _, of_sample = reinforce(logits, targets, rewards, "none")
    np.testing.assert_allclose(of_set, of_sample * (3 * p)[:, None, None], rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("baseline", ["none", "leave_one_out", "mean"])
def test_enumerated_expectation_of_reinforce(baseline):
    """All pairs of actions (G = 2): none and leave-one-out give ∇J, the mean with self (1 − 1/2)·∇J."""
    z, r = np.array([0.3, -1.0, 0.7]), np.array([1.0, 5.0, -2.0])
    p = np.exp(log_softmax(z)[0])
    mean = np.zeros(3)
    for i, j in np.ndindex(3, 3):
        _, dlogits = reinforce(np.tile(z, (2, 1, 1)), np.array([[i], [j]]), r[[i, j]], baseline)
        mean += p[i] * p[j] * dlogits.sum(axis=(0, 1))
    exact = p * (r - p @ r)
    np.testing.assert_allclose(mean, exact * (0.5 if baseline == "mean" else 1), rtol=1e-12)


def test_leave_one_out_is_the_default():
    logits, targets, rng = batch()
    rewards = rng.normal(size=3)
    assert (reinforce(logits, targets, rewards)[1] == reinforce(logits, targets, rewards, "leave_one_out")[1]).all()
    gradients = [reinforce(logits, targets, rewards, baseline)[1] for baseline in BASELINES]
    assert len({g.tobytes() for g in gradients}) == 3


def test_groups_change_the_baseline():
    logits, targets, rng = batch(B=4)
    rewards, groups = rng.normal(size=4), np.array([7, 3, 7, 3])
    for baseline in ("leave_one_out", "mean"):
        _, whole = reinforce(logits, targets, rewards, baseline, groups)
        for g in (3, 7):
            rows = groups == g
            _, part = reinforce(logits[rows], targets[rows], rewards[rows], baseline)
            np.testing.assert_allclose(whole[rows], part / 2, rtol=1e-12, atol=1e-15)
        assert (whole != reinforce(logits, targets, rewards, baseline)[1]).any()


def test_the_stop_token_is_an_action_like_any_other():
    logits = LN(np.array([[[0.25, 0.75]]]))
    _, dlogits = reinforce(logits, np.array([[0]]), np.array([1.0]), "none")
    assert dlogits[0, 0, 0] == pytest.approx(0.75, rel=1e-14)  # wrong: 0, the stop token dropped


def test_lengths_two_and_eight_have_coefficients_a_half():
    """No division by the length: each token of episode i has the coefficient A_i/N."""
    targets = np.full((2, 8), 0)
    targets[0, 2:] = IGNORE
    _, dlogits = reinforce(np.zeros((2, 8, 2)), targets, np.array([1.0, -1.0]), "none")
    c = dlogits[..., 0] / 0.5  # (1 − p) = .5
    assert c[0].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0]  # wrong: .25, .1
    assert c[1].tolist() == [-0.5] * 8  # wrong: −.0625, −.1


@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
@pytest.mark.parametrize("rewards", [np.full(7, 0.35, np.float32), np.array([3.0]), np.full(4, 0.1)])
def test_equal_rewards_and_a_single_one_give_no_gradient(baseline, rewards):
    N = len(rewards)
    value, dlogits = reinforce(np.zeros((N, 1, 2)), np.zeros((N, 1), int), rewards, baseline)
    assert value == 0
    assert (dlogits == 0).all()


def test_an_action_of_probability_zero_with_reward_zero_has_gradient_zero():
    logits = np.array([[[0.0, -np.inf]], [[0.0, -np.inf]]])
    J, dlogits = expected_reward(logits, np.array([[0], [1]]), np.array([2.0, 0.0]))
    assert J == 2
    assert (dlogits == 0).all()
    value, _ = reinforce(logits, np.array([[0], [1]]), np.array([2.0, 0.0]), "none")
    assert value == 0
