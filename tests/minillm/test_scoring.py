"""Scoring decisions, and the gradient of their log-probabilities, against the plain sum over decisions."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import packing, prefix_trees
from minillm.agent import LLMAgent
from minillm.decoding import read
from minillm.experience import IGNORE, Experience
from minillm.objectives import weighted_log_likelihood
from minillm.ops import log_softmax
from minillm.sampling import Sampling
from minillm.scoring import policy_gradient, score
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT


def model_for(random_model, tokenizer, **options):
    return random_model(**{"vocab_size": tokenizer.vocab_size, "n_positions": 40} | options)


def plain_policy_gradient(model, tokenizer, experience, c):
    """Decision by decision: one forward and one backward each, without ``at``."""
    total = np.zeros_like(model.parameters.vector)
    for state, ids, weight in zip(experience.states, experience.action_ids, c, strict=True):
        action = ids[ids != IGNORE]
        prompt = [*tokenizer.encode(str(state)), tokenizer.eos_token_id]
        logits, cache = model.forward(np.array([[*prompt, *action[:-1]]]))
        targets = np.full(logits.shape[:2], IGNORE)
        targets[0, len(prompt) - 1 :] = action
        _, dlogits = weighted_log_likelihood(logits, targets, np.asarray(weight))
        total += model.backward(dlogits, cache)
    return total


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("piece", [1, 20, 4096])
def test_policy_gradient_equals_the_plain_sum(random_decisions, random_model, worst_block, monkeypatch, tied, piece):
    monkeypatch.setattr(packing, "PIECE_TOKENS", piece)
    tokenizer, experience, c = random_decisions()
    model = model_for(random_model, tokenizer, tied=tied, n_positions=8)
    c[2] = -c[8]  # equal decisions whose coefficients cancel
    expected = plain_policy_gradient(model, tokenizer, experience, c)
    assert worst_block(model, policy_gradient(model, tokenizer, experience, c), expected) < 1e-12


def test_policy_gradient_equals_the_complex_step(random_decisions, random_model, decision_ids, derivative):
    tokenizer, experience, c = random_decisions(1)
    model = model_for(random_model, tokenizer, n_positions=8)

    def surrogate(theta):
        ids, at, targets = decision_ids(tokenizer, experience.states, experience.action_ids)
        logits, _ = GPT.from_vector(model.config, theta).forward(ids, at=at)
        return weighted_log_likelihood(logits, targets, c[:, None])[0]

    v = np.random.default_rng(0).normal(size=model.parameters.vector.size)
    g = policy_gradient(model, tokenizer, experience, c)
    error = g @ v - derivative(surrogate, model.parameters.vector, v)
    assert abs(error) < 1e-14 * np.linalg.norm(g) * np.linalg.norm(v)


def test_policy_gradient_of_nothing_is_zero(random_decisions, random_model):
    tokenizer, experience, c = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    assert (policy_gradient(model, tokenizer, experience, 0 * c) == 0).all()


def test_policy_gradient_reads_each_prefix_once(random_decisions, random_model, monkeypatch):
    tokenizer, experience, c = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    prefixes = set()
    for state, ids in zip(experience.states, experience.action_ids, strict=True):
        tokens = [*tokenizer.encode(str(state)).tolist(), tokenizer.eos_token_id, *ids[ids != IGNORE][:-1].tolist()]
        prefixes |= {tuple(tokens[: t + 1]) for t in range(len(tokens))}
    monkeypatch.setattr(prefix_trees, "TOKEN_PAIRS", 1000)  # all in one row
    read = []
    forward = GPT.forward
    monkeypatch.setattr(GPT, "forward", lambda self, ids, **k: read.append(ids.size) or forward(self, ids, **k))
    policy_gradient(model, tokenizer, experience, c)
    assert sum(read) == len(prefixes)


def test_what_was_sampled_scores_as_it_was_sampled(random_model, decision_ids):
    """The log-probability that acting reports, and that of the stored ids under the same θ, are one number."""
    tokenizer = CharTokenizer("abc")
    model = model_for(random_model, tokenizer, tied=False, n_positions=12)
    states = np.array(["a", "abc", "", "bb"] * 5)
    choice = LLMAgent(model, tokenizer, max_new_tokens=4, rng=0).act(states)
    ids, at, targets = decision_ids(tokenizer, states, choice.ids)
    log_p, _ = log_softmax(model.forward(ids, at=at)[0])
    ell = np.take_along_axis(log_p, np.where(targets < 0, 0, targets)[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(np.where(targets < 0, 0, ell), choice.log_probs, rtol=1e-11)


def test_the_logits_of_a_prompt_are_those_of_its_decision(random_decisions, random_model, decision_ids):
    """Acting and learning see the same prompt: what read() returns is the first row that decision_ids scores."""
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    ids, at, _ = decision_ids(tokenizer, experience.states, experience.action_ids)
    z, _ = model.forward(ids, at=at)
    _, logits = read(model, ids, at[:, 0] + 1)
    assert np.abs(logits - z[:, 0]).max() < 1e-12


SAMPLINGS = [Sampling(), Sampling(0.5), Sampling(1.5, top_k=3), Sampling(top_p=0.6)]


def sampled(random_model, sampling, value_head=False):
    """A model, and 20 decisions that it drew."""
    tokenizer = CharTokenizer("abc")
    model = model_for(random_model, tokenizer, tied=False, n_positions=12, value_head=value_head)
    agent = LLMAgent(model, tokenizer, max_new_tokens=4, rng=0)
    agent.sampling = sampling
    states = np.array(["a", "abc", "", "bb"] * 5)
    choice = agent.act(states)
    N, flags = len(states), np.ones(len(states), bool)
    experience = Experience(
        states, choice.texts, states, np.zeros(N), flags, ~flags, choice.log_probs, choice.ids, np.arange(N), np.zeros(N, int)
    )
    return tokenizer, model, experience


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_ratio_to_the_behaviour_policy_is_one(random_model, monkeypatch, sampling):
    """To the last bit by scoring twice, on any number of cores; within rounding against what the cached decoding reported."""
    tokenizer, model, experience = sampled(random_model, sampling)
    old = score(model, tokenizer, experience, sampling).log_probs
    monkeypatch.setattr("minillm.threads._cores", lambda: 1)
    now = score(model, tokenizer, experience, sampling).log_probs
    assert (np.exp(now - old) == 1).all()
    assert np.abs(np.exp(now - experience.log_probs) - 1).max() < 1e-13
    assert (now[experience.action_ids == IGNORE] == 0).all()
    if sampling != Sampling():
        assert np.abs(score(model, tokenizer, experience).log_probs - old).max() > 0.1


def test_scoring_takes_no_notice_of_dropout(random_model):
    tokenizer, model, experience = sampled(random_model, Sampling())
    if not hasattr(model.config, "resid_pdrop"):
        pytest.skip("no dropout in this model")
    wet = GPT.from_vector(dataclasses.replace(model.config, resid_pdrop=0.5, attn_pdrop=0.5), model.parameters.vector)
    assert (score(wet, tokenizer, experience).log_probs == score(model, tokenizer, experience).log_probs).all()


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("piece", [1, 4096])
def test_scores_equal_those_of_each_decision_alone(random_model, monkeypatch, sampling, piece):
    monkeypatch.setattr(packing, "PIECE_TOKENS", piece)
    tokenizer, model, experience = sampled(random_model, sampling, value_head=True)
    scores = score(model, tokenizer, experience, sampling, full=True)
    for k, (state, ids) in enumerate(zip(experience.states, experience.action_ids, strict=True)):
        action = ids[ids != IGNORE]
        prompt = [*tokenizer.encode(str(state)), tokenizer.eos_token_id]
        logits, cache = model.forward(np.array([[*prompt, *action[:-1]]]))
        log_p = sampling.log_probs(logits[0, len(prompt) - 1 :])
        L = len(action)
        np.testing.assert_allclose(scores.full_log_probs[k, :L], log_p, rtol=1e-11)
        np.testing.assert_allclose(scores.log_probs[k, :L], log_p[np.arange(L), action], rtol=1e-11)
        np.testing.assert_allclose(scores.values[k, :L], model.values(cache)[0, len(prompt) - 1 :], rtol=1e-11)
        assert (scores.full_log_probs[k, L:] == 0).all()
        assert (scores.log_probs[k, L:] == 0).all()
        assert (scores.values[k, L:] == 0).all()


def test_scores_of_float32_are_float64_and_complex_ones_complex(random_model):
    tokenizer, model, experience = sampled(random_model, Sampling())
    assert score(model.astype(np.float32), tokenizer, experience).log_probs.dtype == np.float64
    assert score(model.astype(np.complex128), tokenizer, experience).log_probs.dtype == np.complex128
    assert score(model, tokenizer, experience).values is None
    assert score(model, tokenizer, experience).full_log_probs is None


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_gradient_of_scores_equals_the_complex_step(random_model, derivative, sampling, dense):
    """Σ c·log p + Σ V̄·V, a coefficient a token or a token of the vocabulary, under the distribution that was sampled."""
    tokenizer, model, experience = sampled(random_model, sampling, value_head=True)
    rng = np.random.default_rng(3)
    scores = score(model, tokenizer, experience, sampling, full=True)
    C, dvalues = rng.normal(size=scores.full_log_probs.shape), rng.normal(size=scores.values.shape)
    if not dense:
        C = C[..., 0]
    finite = scores.full_log_probs > -np.inf

    def surrogate(theta):
        now = score(GPT.from_vector(model.config, theta), tokenizer, experience, sampling, full=True)
        ell = np.where(finite, now.full_log_probs, 0) if dense else now.log_probs
        return (C * ell).sum() + (dvalues * now.values).sum()

    v = rng.normal(size=model.parameters.vector.size)
    g = policy_gradient(model, tokenizer, experience, C, sampling, dvalues)
    error = g @ v - derivative(surrogate, model.parameters.vector, v)
    assert abs(error) < 1e-14 * np.linalg.norm(g) * np.linalg.norm(v)


def test_a_coefficient_a_step_is_that_of_each_of_its_tokens(random_decisions, random_model):
    tokenizer, experience, c = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    spread = np.where(experience.action_ids == IGNORE, np.nan, c[:, None])  # what lies beyond the tokens is not looked at
    assert (policy_gradient(model, tokenizer, experience, spread) == policy_gradient(model, tokenizer, experience, c)).all()


@given(st.data())
def test_any_split_into_micro_batches_gives_the_same_gradient(random_decisions, random_model, worst_block, data):
    """Coefficients on the whole batch, backward in pieces of any size and in any order."""
    tokenizer, experience, _ = random_decisions()
    M, L = experience.action_ids.shape
    model = model_for(random_model, tokenizer, n_positions=8, value_head=True)
    rng = np.random.default_rng(0)
    c, dvalues = rng.normal(size=(2, M, L))
    whole = policy_gradient(model, tokenizer, experience, c, Sampling(0.7), dvalues)
    order = np.array(data.draw(st.permutations(range(M))))
    cuts = sorted(data.draw(st.sets(st.integers(1, M - 1), max_size=5)))
    parts = np.split(order, cuts)
    total = sum(policy_gradient(model, tokenizer, experience.take(p), c[p], Sampling(0.7), dvalues[p]) for p in parts)
    assert worst_block(model, total, whole) < 1e-13
