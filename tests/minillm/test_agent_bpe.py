"""An agent whose tokenizer spells a text in many ways: one of them is the action, and exact J is the sum over all token sequences."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from minillm.agent import LLMAgent
from minillm.bpe import OTHERWISE, BPETokenizer
from minillm.experience import Experience
from minillm.lab import check_gradient
from minillm.lab.exact import expected_return, expected_return_gradient
from minillm.objectives import IGNORE
from minillm.run import exact_policy, exact_value, make_agent
from minillm.scoring import policy_gradient
from minillm.training import uniform_policy
from minillm.transformer import GPT

MDP = envs.exact("text/bandit-2-2")  # one state, "?"; the strings over a and b up to length 2
PAIRS = [("a", "b"), ("b", "a"), ("a", "a"), ("b", "b")]


def tokenizer_of(merges, unreachable=()):
    tokens = ["a", "b", "?", *(left + right for left, right in merges), *unreachable]
    return BPETokenizer({token: i for i, token in enumerate(tokens)}, merges, {"<|endoftext|>": len(tokens)})


def sequences(tokenizer, longest):
    """All that can be written: tokens up to the end token or to the length ``longest``, padded with −100."""
    eos = tokenizer.eos_token_id
    others = [i for i in range(tokenizer.vocab_size) if i != eos]
    ended = [[*row, eos] for n in range(longest) for row in itertools.product(others, repeat=n)]
    rows = ended + [list(row) for row in itertools.product(others, repeat=longest)]
    return np.array([row + [IGNORE] * (longest - len(row)) for row in rows])


def probabilities(model, tokenizer, rows):
    """Of each sequence after the prompt, by one plain forward pass."""
    prompt = [*tokenizer.encode("?"), tokenizer.eos_token_id]
    ids = np.concatenate([np.broadcast_to(prompt, (len(rows), len(prompt))), np.maximum(rows, 0)[:, :-1]], axis=1)
    z = model.forward(ids)[0][:, len(prompt) - 1 :]
    p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    return np.where(rows == IGNORE, 1, np.take_along_axis(p, np.maximum(rows, 0)[..., None], axis=-1)[..., 0]).prod(axis=1)


def reward_of(text):
    known = MDP.action_texts.tolist()
    return MDP.rewards[0, known.index(text) if text in known else MDP.invalid, 0]


def everything(random_model, merges, seed=0, **options):
    tokenizer = tokenizer_of(merges, **options)
    model = random_model(vocab_size=tokenizer.vocab_size, n_positions=12, seed=seed)
    agent = make_agent(model, tokenizer, MDP, rng=0)
    rows = sequences(tokenizer, agent.max_new_tokens)
    return agent, rows, probabilities(model, tokenizer, rows)


some_merges = st.lists(st.sampled_from(PAIRS), max_size=4, unique=True)


@settings(max_examples=25)
@given(some_merges, st.integers(0, 5), st.sampled_from([(), ("aab",), ("bab", "aabb")]))
def test_exact_j_is_the_sum_over_all_token_sequences(random_model, merges, seed, unreachable):
    agent, rows, p = everything(random_model, merges, seed, unreachable=unreachable)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    texts = agent._texts(rows)
    rewards = np.array([reward_of(text) for text in texts])
    assert exact_value(agent, MDP) == pytest.approx(p @ rewards, abs=1e-13)
    assert expected_return(agent.model, agent.tokenizer, MDP) == pytest.approx(p @ rewards, abs=1e-13)
    policy = exact_policy(agent, MDP)[0]
    for action, chance in zip(MDP.action_texts.tolist(), policy, strict=True):
        assert chance == pytest.approx(p[texts == action].sum(), abs=1e-14)
        assert (texts == action).sum() == 1  # one spelling


@settings(max_examples=10)
@given(some_merges, st.integers(0, 5))
def test_the_policy_gradient_over_all_token_sequences_is_that_of_exact_j(random_model, worst_block, merges, seed):
    agent, rows, p = everything(random_model, merges, seed)
    M = len(rows)
    texts = agent._texts(rows)
    zeros, no = np.zeros(rows.shape), np.zeros(M, bool)
    experience = Experience(np.full(M, "?"), texts, texts, zeros[:, 0], no, no, zeros, rows, np.arange(M), np.zeros(M, int))
    c = p * np.array([reward_of(text) for text in texts])
    estimate = policy_gradient(agent.model, agent.tokenizer, experience, c)
    J, gradient = expected_return_gradient(agent.model, agent.tokenizer, MDP)
    assert pytest.approx(c.sum(), abs=1e-13) == J
    # the reward of `invalid` is 0, so that the sequences that are no action add nothing
    assert reward_of("no action") == 0
    assert worst_block(agent.model, estimate, gradient) < 1e-11


def test_the_gradient_of_exact_j_is_that_of_the_complex_step(random_model):
    agent, _, _ = everything(random_model, PAIRS[:2])
    _, gradient = expected_return_gradient(agent.model, agent.tokenizer, MDP)

    def f(theta):
        return expected_return(GPT.from_vector(agent.model.config, theta), agent.tokenizer, MDP)

    assert check_gradient(f, gradient, agent.model.parameters.vector)


def test_what_is_sampled_has_the_frequencies_of_the_enumeration(random_model):
    agent, rows, p = everything(random_model, PAIRS[:1])
    expected: dict = {}
    for text, chance in zip(agent._texts(rows).tolist(), p, strict=True):
        expected[text] = expected.get(text, 0) + chance
    n = 20_000
    drawn, counts = np.unique(agent.act(np.full(n, "?")).texts, return_counts=True)
    assert set(drawn) <= set(expected)
    for text, count in zip(drawn.tolist(), counts.tolist(), strict=True):
        assert abs(count / n - expected[text]) < 6 * np.sqrt(expected[text] / n) + 1e-9
    assert any(text.endswith(OTHERWISE) for text in drawn)


def test_log_probs_of_an_act_are_those_of_its_actions(random_model):
    agent, _, _ = everything(random_model, PAIRS)
    choice = agent.act(np.full(300, "?"))
    of_actions = dict(zip(MDP.action_texts.tolist(), agent.action_log_probs(["?"], MDP.action_texts)[0], strict=True))
    valid = [k for k, text in enumerate(choice.texts.tolist()) if text in of_actions]
    assert len(valid) > 20
    for k in valid:
        assert choice.log_probs[k].sum() == pytest.approx(of_actions[choice.texts[k]], abs=1e-12)


def test_state_and_action_are_encoded_apart(random_model):
    """The state ends in a, the action begins with b: no token ``ab`` spans them, whatever the merges."""
    tokenizer = tokenizer_of(PAIRS)
    model = random_model(vocab_size=tokenizer.vocab_size, n_positions=8)
    agent = LLMAgent(model, tokenizer, rng=0)
    a, b, eos = 0, 1, tokenizer.eos_token_id
    log_p = agent.action_log_probs(["a"], ["b"])[0, 0]
    z, _ = model.forward(np.array([a, eos, b]))
    each = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    assert log_p == pytest.approx(each[1, b] + each[2, eos], abs=1e-13)


def test_the_uniform_policy_shares_its_probability_over_tokens():
    tokenizer = tokenizer_of(PAIRS[:1])
    choice = uniform_policy(tokenizer, MDP.action_texts, 0)(np.full(200, "?"))
    assert choice.log_probs.sum(axis=1) == pytest.approx(np.full(200, -np.log(7)))
    assert all(tokenizer.decode_action(row[row != IGNORE]) == text for row, text in zip(choice.ids, choice.texts, strict=True))
