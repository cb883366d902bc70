"""The gradients of J that training rests on: exact ones by complex step, estimated ones by enumeration."""

import itertools

import numpy as np
import pytest

import envs
from minillm.agent import LLMAgent
from minillm.experience import IGNORE, Experience
from minillm.objectives import expected_reward
from minillm.ops import log_softmax
from minillm.scoring import policy_gradient
from minillm.tokenizer import CharTokenizer
from minillm.training import coefficients
from minillm.transformer import GPT

BASELINES = ["none", "mean", "leave_one_out"]


def pays(mdp):
    """Expected reward of each action, and of the invalid one, in the likeliest start."""
    return (mdp.probabilities * mdp.rewards).sum(axis=-1)[np.argmax(mdp.start)]


def tokenizer_of(mdp, extra=""):
    return CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts, extra])


def model_for(random_model, tokenizer, **options):
    return random_model(**{"vocab_size": tokenizer.vocab_size, "n_positions": 40} | options)


def test_the_exact_gradient_of_expected_reward_equals_the_complex_step_of_j(
    random_model, decision_ids, gradient_of, worst_block
):
    """Acceptance line 3 of issue 2, on text/bandit-3-2: J = Σ r·p over all strings, from the table of it."""
    mdp = envs.exact("text/bandit-3-2")
    tokenizer = tokenizer_of(mdp)
    model = model_for(random_model, tokenizer, tied=False, n_positions=5, n_embd=6, n_inner=7)
    actions, rewards = mdp.action_texts, pays(mdp)[:-1]
    action_ids = np.full((len(actions), 3), IGNORE)
    for row, action in zip(action_ids, actions, strict=True):
        row[: len(action) + 1] = [*tokenizer.encode(action), tokenizer.eos_token_id]
    state = mdp.state_texts[np.argmax(mdp.start)]
    ids, at, targets = decision_ids(tokenizer, np.full(len(actions), state), action_ids)

    logits, cache = model.forward(ids, at=at)
    J, dlogits = expected_reward(logits, targets, rewards)
    gradient = model.backward(dlogits, cache)

    def exact_j(theta):
        agent = LLMAgent(GPT.from_vector(model.config, theta), tokenizer)
        return mdp.value(np.exp(agent.action_log_probs(mdp.state_texts, actions)))

    assert exact_j(model.parameters.vector) == pytest.approx(J, rel=1e-14)
    assert worst_block(model, gradient, gradient_of(exact_j, model.parameters.vector)) < 1e-13


def episodes_of(rewards, states, actions, ids):
    """Experience of N episodes of H steps each, from nested lists."""
    N, H = np.shape(rewards)
    flat = [np.array(x).reshape(N * H, *np.shape(x)[2:]) for x in (states, actions, rewards, ids)]
    last = np.tile(np.arange(H) == H - 1, N)
    return Experience(
        states=flat[0], actions=flat[1], next_states=flat[0], rewards=flat[2].astype(float), terminated=last,
        truncated=np.zeros(N * H, bool), log_probs=np.zeros(flat[3].shape), action_ids=flat[3],
        episodes=np.repeat(np.arange(N), H), steps=np.tile(np.arange(H), N),
    )  # fmt: skip


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_expectation_of_reinforce_is_grad_j_on_a_bandit(
    random_model, decision_ids, gradient_of, worst_block, baseline
):
    """All pairs of outcomes of text/bandit-2-1, strings cut at two tokens included: 21² batches of two episodes."""
    mdp = envs.exact("text/bandit-2-1")
    tokenizer = tokenizer_of(mdp)
    state, end = str(mdp.state_texts[np.argmax(mdp.start)]), tokenizer.eos_token_id
    model = model_for(random_model, tokenizer, n_positions=4, n_embd=4, n_inner=5)
    outcomes = [[end, IGNORE], *([x, y] for x in range(end) for y in range(end + 1))]
    texts = [tokenizer.decode([i for i in ids if i != IGNORE], skip_special_tokens=True) for ids in outcomes]
    rewards = pays(mdp)[mdp.action_index(texts)]
    assert (rewards > 0).sum() == 3

    def log_p(theta):
        ids, at, targets = decision_ids(tokenizer, np.full(len(outcomes), state), np.array(outcomes))
        z, _ = GPT.from_vector(model.config, theta).forward(ids, at=at)
        ell = np.take_along_axis(log_softmax(z)[0], np.where(targets < 0, 0, targets)[..., None], axis=2)[..., 0]
        return np.where(targets < 0, 0, ell).sum(axis=1)

    def exact_j(theta):
        agent = LLMAgent(GPT.from_vector(model.config, theta), tokenizer)
        return mdp.value(np.exp(agent.action_log_probs(mdp.state_texts, mdp.action_texts)))

    p = np.exp(log_p(model.parameters.vector))
    assert p.sum() == pytest.approx(1, rel=1e-14)
    mean = np.zeros_like(model.parameters.vector)
    for i, j in itertools.combinations_with_replacement(range(len(outcomes)), 2):
        two = [[i], [j]]
        pair = episodes_of(rewards[two], [[state], [state]], np.array(texts)[two], np.array(outcomes)[two])
        g = policy_gradient(model, tokenizer, pair, coefficients(pair, baseline))
        mean += p[i] * p[j] * g * (1 if i == j else 2)
    exact = gradient_of(exact_j, model.parameters.vector)
    assert worst_block(model, mean, exact * (0.5 if baseline == "mean" else 1)) < 1e-12


def two_steps():
    """Two states, actions a and b, two steps; what is chosen first decides what the second pays."""
    successors = np.array([[0, 1, 1], [0, 1, 0]])[..., None]
    rewards = np.array([[0.5, -1.0, 0.25], [2.0, 0.0, -0.75]])[..., None]
    return envs.ExactMDP(
        id="test/two-steps", state_texts=np.array(["x", "y"]), action_texts=np.array(["a", "b"]), successors=successors,
        probabilities=np.ones(successors.shape), rewards=rewards, terminal=np.array([False, False]),
        start=np.array([0.4, 0.6]), horizon=2,
    )  # fmt: skip


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_expectation_of_reinforce_is_grad_j_over_two_steps(random_model, gradient_of, worst_block, baseline):
    """Actions of one token: all pairs of all trajectories, with reward-to-go and baselines by state."""
    mdp, tokenizer = two_steps(), CharTokenizer("abxy")
    tokens = range(tokenizer.vocab_size)
    model = model_for(random_model, tokenizer, n_positions=3, n_embd=4, n_inner=5)
    names = [tokenizer.decode([t], skip_special_tokens=True) for t in tokens]
    number = mdp.action_index(names)

    def token_policy(theta):
        z, _ = GPT.from_vector(model.config, theta).forward(np.array([[2, 4], [3, 4]]), at=np.array([[1], [1]]))
        return np.exp(log_softmax(z[:, 0])[0])

    def exact_j(theta):  # a cut action has no end token: π(a) is the chance of its one token
        return mdp.value(token_policy(theta)[:, :2])

    pi = token_policy(model.parameters.vector)
    paths = []
    for s, first, second in itertools.product(range(2), tokens, tokens):
        middle = mdp.successors[s, number[first], 0]
        r = [mdp.rewards[s, number[first], 0], mdp.rewards[middle, number[second], 0]]
        chance = mdp.start[s] * pi[s, first] * pi[middle, second]
        paths.append((chance, r, [s, middle], [first, second]))
    texts, names = mdp.state_texts, np.array(names)
    one = np.ones(1)
    single = [[episodes_of([[0.0]], [[x]], [[names[t]]], [[[t]]]) for t in tokens] for x in texts]
    slopes = [[policy_gradient(model, tokenizer, decision, one) for decision in row] for row in single]
    slopes = np.array(slopes)  # ∇log π(token | state); the sum is linear in them, the coefficients are what is tested

    mean = np.zeros_like(model.parameters.vector)
    for (p, r, s, t), (q, r_too, s_too, t_too) in itertools.combinations_with_replacement(paths, 2):
        states, actions = np.array([s, s_too]), np.array([t, t_too])
        pair = episodes_of([r, r_too], texts[states], names[actions], actions[..., None])
        c = coefficients(pair, baseline)
        mean += p * q * (1 if (s, t) == (s_too, t_too) else 2) * (c @ slopes[states.ravel(), actions.ravel()])
    exact = gradient_of(exact_j, model.parameters.vector)
    error = worst_block(model, mean, exact)
    if baseline == "mean":
        assert error > 1e-3  # biased: groups of differing sizes, the own return in the baseline
    else:
        assert error < 1e-12
