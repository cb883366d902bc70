import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.estimators.action_sets import ACTION_SET_ESTIMATORS, ActionSets, all_actions, log_policy, taken_action
from minillm.ops import log_softmax

NAMES = sorted(ACTION_SET_ESTIMATORS)


def go_or_turn_left():
    """Logits at the start: go 2.0, turn 1.9, other 0; after "turn": left 3.0, the two others −1 and 0."""
    start, after = (log_softmax(np.array(z))[0] for z in ([2.0, 1.9, 0.0], [3.0, -1.0, 0.0]))
    log_probs = np.array([[[start[0], np.nan], [start[1], after[0]]]])
    return ActionSets(log_probs, ~np.isnan(log_probs), np.array([1]), np.array([1.0]), 1, words=np.array([[1, 2]]), q=np.array([[1.0, 2]]))


def random_sets(seed, S=3, A=4, L=3):
    """Candidates of 0 to L tokens, NaN behind them; the one taken has tokens, if any has."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, L + 1, (S, A))
    mask = np.arange(L) < lengths[..., None]
    taken = np.argmax(lengths > 0, axis=1)
    log_probs = np.where(mask, -rng.exponential(size=(S, A, L)), np.nan)
    q = np.where(lengths > 0, rng.normal(size=(S, A)), np.nan)
    words = np.maximum(lengths - (lengths == 3), 1)
    return ActionSets(log_probs, mask, taken, rng.normal(size=S), 2, words, q)


def loop_log_policy(sets, score):
    """State by state, candidate by candidate."""
    log_pi = np.full(sets.mask.shape[:2], -np.inf)
    for s in range(len(log_pi)):
        u = {}
        for a in range(log_pi.shape[1]):
            tokens = [sets.log_probs[s, a, t] for t in range(sets.mask.shape[2]) if sets.mask[s, a, t]]
            if tokens:
                u[a] = math.fsum(tokens) / {"sum": 1, "token_mean": len(tokens), "word_mean": sets.words[s, a]}[score]
        for a, value in u.items():
            log_pi[s, a] = value - math.log(math.fsum(math.exp(other) for other in u.values()))
    return log_pi


@pytest.mark.parametrize("score", ["sum", "token_mean", "word_mean"])
@given(seed=st.integers(0, 10**6))
def test_the_policy_equals_the_loop(score, seed):
    sets = random_sets(seed)
    np.testing.assert_allclose(log_policy(sets, score), loop_log_policy(sets, score), rtol=1e-13, atol=1e-13)


def test_go_and_turn_left():
    for score, expected in (("sum", (0.541, 0.459)), ("token_mean", (0.432, 0.568)), ("word_mean", (0.432, 0.568))):
        np.testing.assert_allclose(np.exp(log_policy(go_or_turn_left(), score)), [expected], atol=5e-4)


@pytest.mark.parametrize("score", ["sum", "token_mean", "word_mean"])
def test_the_tokens_of_every_candidate_have_a_coefficient(score):
    sets = go_or_turn_left()
    go, turn = np.exp(log_policy(sets, score))[0]
    w = 1 if score == "sum" else 0.5
    expected = [[[-go, 0], [(1 - turn) * w] * 2]]
    np.testing.assert_allclose(taken_action(score).coefficients(sets), expected, rtol=1e-14)


def test_words_are_not_tokens():
    sets = dataclasses.replace(go_or_turn_left(), words=np.array([[1, 1]]))
    assert (taken_action("word_mean").coefficients(sets) == taken_action("sum").coefficients(sets)).all()
    assert (taken_action("word_mean").coefficients(sets) != taken_action("token_mean").coefficients(sets)).any()


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10**6))
def test_the_coefficient_is_the_derivative_of_f(name, seed, gradient_of):
    estimator, sets = ACTION_SET_ESTIMATORS[name], random_sets(seed)
    expected = gradient_of(lambda x: estimator.surrogate(dataclasses.replace(sets, log_probs=x)), sets.log_probs)
    c = estimator.coefficients(sets)
    assert np.isfinite(c).all()
    assert (c[~sets.mask] == 0).all()
    # sums of |A| and |Q| of up to a few units cancel where one candidate is left alone
    assert np.abs(c - expected).max() <= 1e-13 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("score", ["sum", "token_mean", "word_mean"])
def test_all_actions_are_the_mean_over_the_actions_taken(score):
    """E over a of Q(a)·(1[a'=a] − π(a')) is π(a')·(Q(a') − V)."""
    sets = go_or_turn_left()
    policy = np.exp(log_policy(sets, score))[0]
    mean = np.zeros(sets.mask.shape)
    for a in range(2):
        taken = dataclasses.replace(sets, taken=np.array([a]), advantages=sets.q[:, a])
        mean += policy[a] * taken_action(score).coefficients(taken)
    np.testing.assert_allclose(all_actions(score).coefficients(sets), mean, rtol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_a_candidate_without_tokens_is_none_and_a_state_without_candidates_has_zeros(name):
    sets = go_or_turn_left()
    alone = dataclasses.replace(sets, mask=sets.mask & np.array([[[False], [True]]]))
    assert np.exp(log_policy(alone)).tolist() == [[0, 1]]
    assert (ACTION_SET_ESTIMATORS[name].coefficients(alone) == 0).all()
    nothing = dataclasses.replace(sets, mask=np.zeros_like(sets.mask))
    assert (ACTION_SET_ESTIMATORS[name].coefficients(nothing) == 0).all()
    assert ACTION_SET_ESTIMATORS[name].surrogate(nothing) == 0


def test_scores_of_any_size_are_shifted():
    """Scores −200000 and −200001: .731 and .269."""
    sets = ActionSets(np.array([[[-2e5], [-2e5 - 1]]]), np.ones((1, 2, 1), bool), np.array([0]), np.ones(1), 1)
    np.testing.assert_allclose(np.exp(log_policy(sets)), [[0.731, 0.269]], atol=5e-4)


def test_what_is_missing_is_named():
    sets = dataclasses.replace(go_or_turn_left(), words=None, q=None)
    with pytest.raises(UserError, match="needs words"):
        taken_action("word_mean").coefficients(sets)
    with pytest.raises(UserError, match="needs q"):
        all_actions().coefficients(sets)
    with pytest.raises(UserError, match="score must be one of sum, token_mean, word_mean, got 'mean'"):
        log_policy(sets, "mean")
