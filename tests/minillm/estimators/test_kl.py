import dataclasses

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.estimators import ESTIMATORS, Batch
from minillm.estimators.forms import sequence_mean
from minillm.estimators.kl import kl_full, kl_in_reward, kl_penalty
from minillm.ops import log_softmax, log_softmax_backward

PI, REF = np.log([0.5, 0.5]), np.log([0.9, 0.1])


def one_token(v):
    """Token v of π = (.5, .5), reference (.9, .1)."""
    full, ref = PI[None, None], REF[None, None]
    return Batch(
        full[..., v], np.ones((1, 1), bool), np.zeros((1, 1)), np.zeros(1, int), np.zeros((1, 1), int), ref_log_probs=ref[..., v],
        full_log_probs=full, full_ref_log_probs=ref,
    )  # fmt: skip


def gradient_of_loss(estimator):
    """E over v of the gradient by z₀, of what is to be small."""
    return -sum(0.5 * estimator.coefficients(one_token(v))[0, 0] * ((v == 0) - 0.5) for v in range(2))


def test_pi_half_half_and_reference_9_1():
    assert -kl_full().surrogate(one_token(0)) == pytest.approx(0.5108, abs=5e-5)
    dz = log_softmax_backward(-kl_full().coefficients(one_token(0)), log_softmax(PI)[0])
    assert dz[0, 0, 0] == pytest.approx(-0.5493, abs=5e-5)
    expected = {"k1_loss": 0, "k2_loss": -0.5493, "k3_loss": -0.4, "k1_reward": -0.5493}
    for name, value in expected.items():
        for level in ("token", "sequence"):
            assert gradient_of_loss(ESTIMATORS[f"kl_{name}_{level}"]) == pytest.approx(value, abs=5e-5)


@pytest.fixture(scope="module")
def theta_ref(bed):
    return bed.theta + np.random.default_rng(1).normal(0, 0.6, (7, 3))


def targets(forward, backward, square):
    return {
        "k1_reward": forward, "k2_loss": forward, "k3_loss": backward, "k2_reward": lambda th: square(th) - forward(th),
        "k3_reward": lambda th: forward(th) - backward(th), "k1_loss": lambda th: 0 * forward(th),
    }  # fmt: skip


def sequence_targets(bed, theta_ref):
    """KL(π‖π_ref), KL(π_ref‖π) and E[x²/2] over whole sequences, as functions of θ."""
    ref, p_ref = bed.log_probs(theta_ref).sum(axis=1), bed.p(theta_ref)

    def x(theta):
        return bed.log_probs(theta.reshape(7, 3)).sum(axis=1) - ref

    def p(theta):
        return bed.p(theta.reshape(7, 3))

    return targets(
        lambda th: (p(th) * x(th)).sum(), lambda th: -(p_ref * x(th)).sum(), lambda th: (p(th) * x(th) ** 2 / 2).sum()
    )  # fmt: skip


def frozen_targets(bed, theta_ref):
    """The same per token: contexts with the visits of this θ, which are not differentiated."""
    visits, p = np.zeros(7), bed.p(bed.theta)
    np.add.at(visits, bed.context[bed.mask], np.repeat(p, bed.mask.sum(axis=1)))
    ref = log_softmax(theta_ref)[0]

    def x(theta):
        return log_softmax(theta.reshape(7, 3))[0] - ref

    def mean(weight, value):
        return (visits[:, None] * weight * value).sum()

    return targets(
        lambda th: mean(np.exp(x(th) + ref), x(th)),
        lambda th: -mean(np.exp(ref), x(th)),
        lambda th: mean(np.exp(x(th) + ref), x(th) ** 2 / 2),
    )


@pytest.mark.parametrize("name", ["k1_reward", "k2_reward", "k3_reward", "k1_loss", "k2_loss", "k3_loss"])
@pytest.mark.parametrize(("level", "make"), [("sequence", sequence_targets), ("token", frozen_targets)])
def test_every_label_is_what_the_enumeration_says(name, level, make, bed, theta_ref, gradient_of):
    mean = bed.moments(ESTIMATORS[f"kl_{name}_{level}"], ref_log_probs=bed.log_probs(theta_ref)).mean
    np.testing.assert_allclose(mean, -gradient_of(make(bed, theta_ref)[name], bed.theta), rtol=1e-11, atol=1e-13)


def test_the_whole_vocabulary_estimates_the_frozen_context_kl(bed, theta_ref, gradient_of):
    full_ref = log_softmax(theta_ref)[0][bed.context]
    mean = bed.moments(kl_full(), full_ref_log_probs=full_ref).mean
    expected = -gradient_of(frozen_targets(bed, theta_ref)["k1_reward"], bed.theta)
    np.testing.assert_allclose(mean, expected, rtol=1e-11, atol=1e-13)
    of_sequences = -gradient_of(sequence_targets(bed, theta_ref)["k1_reward"], bed.theta)
    assert np.linalg.norm(expected - of_sequences) > 0.1 * np.linalg.norm(of_sequences)  # frozen contexts are another thing


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("name", ["reinforce", "reward_to_go", "rloo"])
def test_k1_in_the_reward_makes_an_unbiased_estimator_one_of_j_minus_beta_kl(name, level, bed, theta_ref, gradient_of):
    estimator = kl_in_reward(ESTIMATORS[name], 0.3, "k1", level)
    kl = sequence_targets(bed, theta_ref)["k1_reward"]
    expected = gradient_of(lambda th: bed.value(th.reshape(7, 3)) - 0.3 * kl(th), bed.theta)
    mean = bed.moments(estimator, 2 if name == "rloo" else 1, ref_log_probs=bed.log_probs(theta_ref)).mean
    np.testing.assert_allclose(mean, expected, rtol=1e-11, atol=1e-13)
    assert estimator.surrogate is None
    assert "ref_log_probs" in estimator.needs


def test_k_in_the_reward_of_a_sequence_is_taken_off_its_last_token(random_batch):
    batch = random_batch(0)
    shaped = kl_in_reward(ESTIMATORS["reward_to_go"], 0.5, "k3", "sequence").coefficients(batch)
    x = batch.episode_sums(batch.ref_log_ratio())
    plain = ESTIMATORS["reward_to_go"].coefficients(batch)
    expected = np.where(batch.mask, plain - 0.5 * (np.exp(-x) - 1 + x)[:, None] / len(batch), 0)
    np.testing.assert_allclose(shaped, expected, rtol=1e-12, atol=1e-13)


def test_a_token_of_probability_zero_has_no_coefficient():
    batch = dataclasses.replace(one_token(0), full_log_probs=np.array([[[0, -np.inf]]]))
    np.testing.assert_allclose(kl_full().coefficients(batch), [[[-(1 - np.log(0.9)), 0]]], rtol=1e-15)


def test_options_change_the_coefficients_and_wrong_ones_are_named(random_batch):
    batch = random_batch(0)
    for args in (("k1", "loss", "token"), ("k3", "reward", "sequence")):
        np.testing.assert_allclose(kl_penalty(*args, beta=0.5).coefficients(batch), kl_penalty(*args).coefficients(batch) / 2, rtol=1e-15)
    np.testing.assert_allclose(kl_full(0.5).coefficients(batch), kl_full().coefficients(batch) / 2, rtol=1e-15)
    scaled = kl_penalty("k2", "loss", "token", scale=sequence_mean).coefficients(batch)
    assert (scaled != kl_penalty("k2", "loss", "token").coefficients(batch)).any()
    for args in (("k4", "loss", "token"), ("k1", "nowhere", "token"), ("k1", "loss", "word")):
        with pytest.raises(UserError, match=f"got {', '.join(args)}"):
            kl_penalty(*args)
