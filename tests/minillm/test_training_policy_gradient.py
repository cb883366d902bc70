"""policy_gradient against the plain sum over decisions, and the step that improve takes with it."""

import dataclasses

import numpy as np
import pytest

from minillm import packing
from minillm.agent import LLMAgent
from minillm.decoding import read
from minillm.errors import NonFiniteError
from minillm.experience import IGNORE, Experience
from minillm.objectives import weighted_log_likelihood
from minillm.ops import log_softmax
from minillm.optimizers import AdamW
from minillm.tokenizer import CharTokenizer
from minillm.training import (
    coefficients,
    improve,
    policy_gradient,
)
from minillm.transformer import GPT

BASELINES = ["none", "mean", "leave_one_out"]


def model_for(random_model, tokenizer, **options):
    return random_model(**{"vocab_size": tokenizer.vocab_size, "n_positions": 40} | options)


def random_decisions(seed=0, M=12, L=3):
    rng = np.random.default_rng(seed)
    tokenizer = CharTokenizer("abc")
    states = np.array(["a", "abc", "", "bb"])[rng.integers(4, size=M)]
    ids = rng.integers(3, size=(M, L))
    lengths = rng.integers(1, L + 1, size=M)
    ids[np.arange(L) >= lengths[:, None]] = IGNORE
    ids[np.arange(M), lengths - 1] = 3
    ids[M // 2 :], states[M // 2 :] = ids[: M - M // 2], states[: M - M // 2]  # equal decisions
    experience = Experience(
        states=states, actions=states, next_states=states, rewards=rng.normal(size=M), terminated=np.ones(M, bool),
        truncated=np.zeros(M, bool), log_probs=np.zeros((M, L)), action_ids=ids, episodes=np.arange(M), steps=np.zeros(M, int),
    )  # fmt: skip
    return tokenizer, experience, rng.normal(size=M)


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
def test_policy_gradient_equals_the_plain_sum(random_model, worst_block, monkeypatch, tied, piece):
    monkeypatch.setattr(packing, "PIECE_TOKENS", piece)
    tokenizer, experience, c = random_decisions()
    model = model_for(random_model, tokenizer, tied=tied, n_positions=8)
    c[2] = -c[8]  # equal decisions whose coefficients cancel
    expected = plain_policy_gradient(model, tokenizer, experience, c)
    assert worst_block(model, policy_gradient(model, tokenizer, experience, c), expected) < 1e-12


def test_policy_gradient_equals_the_complex_step(random_model, decision_ids, derivative):
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


def test_policy_gradient_of_nothing_is_zero(random_model):
    tokenizer, experience, c = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    assert (policy_gradient(model, tokenizer, experience, 0 * c) == 0).all()


def test_policy_gradient_reads_each_state_once(random_model, monkeypatch):
    tokenizer, experience, c = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    rows = []
    forward = GPT.forward
    monkeypatch.setattr(GPT, "forward", lambda self, ids, **k: rows.append(len(ids)) or forward(self, ids, **k))
    policy_gradient(model, tokenizer, experience, c)
    assert sum(rows) == len(np.unique(experience.states)) < len(experience)


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


def test_a_gradient_that_is_not_finite_takes_no_step(random_model, monkeypatch):
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    optimizer, before = AdamW(model.parameters), model.parameters.vector.copy()

    def broken(self, dlogits, cache):
        gradient = self.parameters.like()
        gradient["ln_f.bias"][3] = np.inf
        return gradient.vector

    monkeypatch.setattr(GPT, "backward", broken)
    with pytest.raises(NonFiniteError, match=r"the gradient of ln_f.bias is -inf at index \(3,\) in step 17"):
        improve(model, tokenizer, experience, optimizer, step=17)
    assert (model.parameters.vector == before).all()
    assert optimizer.t == 0
    assert (optimizer.m == 0).all()


def test_improve_goes_up(random_model, derivative):
    """Along the estimated gradient of J: the surrogate of the same episodes grows."""
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    g = policy_gradient(model, tokenizer, experience, coefficients(experience))
    before = model.parameters.vector.copy()
    improve(model, tokenizer, experience, AdamW(model.parameters, 1e-3, weight_decay=0), step=0)
    moved = model.parameters.vector - before
    assert (np.sign(moved)[np.abs(g) > 1e-6] == np.sign(g)[np.abs(g) > 1e-6]).all()


def test_equal_rewards_leave_the_weights_where_they_are(random_model):
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    before = model.parameters.vector.copy()
    same = dataclasses.replace(experience, rewards=np.full(len(experience), 0.35))
    improve(model, tokenizer, same, AdamW(model.parameters, weight_decay=0), step=0)
    assert (model.parameters.vector == before).all()


def test_every_option_of_improve_changes_the_step(random_model):
    tokenizer, experience, _ = random_decisions()
    vectors = []
    for options in ({}, {"lr": 0.5}, {"baseline": "none"}, {"baseline": "mean"}):
        model = model_for(random_model, tokenizer, n_positions=8)
        improve(model, tokenizer, experience, AdamW(model.parameters), step=0, **options)
        vectors.append(model.parameters.vector.tobytes())
    assert len(set(vectors)) == 4


def test_the_logits_of_a_prompt_are_those_of_its_decision(random_model, decision_ids):
    """Acting and learning see the same prompt: what read() returns is the first row that decision_ids scores."""
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    ids, at, _ = decision_ids(tokenizer, experience.states, experience.action_ids)
    z, _ = model.forward(ids, at=at)
    _, logits = read(model, ids, at[:, 0] + 1)
    assert np.abs(logits - z[:, 0]).max() < 1e-12
