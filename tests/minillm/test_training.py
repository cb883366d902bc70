"""The four steps, and the gradients of J that they rest on, by complex step and by enumeration."""

import dataclasses
import itertools

import numpy as np
import pytest

import envs
from minillm import packing, training
from minillm.agent import LLMAgent
from minillm.decoding import read
from minillm.errors import NonFiniteError, UserError
from minillm.experience import IGNORE, Experience
from minillm.objectives import cross_entropy, expected_reward, weighted_log_likelihood
from minillm.ops import log_softmax
from minillm.optimizers import AdamW
from minillm.tokenizer import CharTokenizer
from minillm.training import (
    coefficients,
    collect,
    fit,
    improve,
    policy_gradient,
    transcript_ids,
    uniform_policy,
)
from minillm.transformer import GPT

BASELINES = ["none", "mean", "leave_one_out"]


def pays(mdp):
    """Expected reward of each action, and of the invalid one, in the likeliest start."""
    return (mdp.probabilities * mdp.rewards).sum(axis=-1)[np.argmax(mdp.start)]


def tokenizer_of(mdp, extra=""):
    return CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts, extra])


def grid_experience(episodes=12, group=1, seed=0):
    mdp = envs.exact("grid/empty-3")
    tokenizer = tokenizer_of(mdp, "-.\n0123456789")
    vector = envs.make_vector("grid/empty-3", episodes, seed=seed, autoreset="disabled")
    return mdp, tokenizer, collect(vector, uniform_policy(tokenizer, mdp.action_texts, rng=seed), group=group)


@pytest.fixture(scope="module")
def played():
    return grid_experience()


def model_for(random_model, tokenizer, **options):
    return random_model(**{"vocab_size": tokenizer.vocab_size, "n_positions": 40} | options)


def decision_ids(tokenizer, states, action_ids):
    """Each decision in a row of its own: ids, at which columns (M, L) which targets (M, L) follow."""
    M, L = action_ids.shape
    ids = np.full((M, max(len(state) for state in states) + L), tokenizer.eos_token_id)
    at = np.zeros((M, L), dtype=int)
    for k, state in enumerate(states):
        action = [i for i in action_ids[k].tolist() if i != IGNORE]
        row = [*tokenizer.encode(str(state)), tokenizer.eos_token_id, *action[:-1]]
        ids[k, : len(row)] = row
        at[k, : len(action)] = len(state) + np.arange(len(action))
    return ids, at, action_ids


# ---- the gradient of J


def test_the_exact_gradient_of_expected_reward_equals_the_complex_step_of_j(random_model, gradient_of, worst_block):
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
        truncated=np.zeros(N * H, bool), log_probs=np.zeros(N * H), action_ids=flat[3],
        episodes=np.repeat(np.arange(N), H), steps=np.tile(np.arange(H), N),
    )  # fmt: skip


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_expectation_of_reinforce_is_grad_j_on_a_bandit(random_model, gradient_of, worst_block, baseline):
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


# ---- policy_gradient


def random_decisions(seed=0, M=12, L=3):
    rng = np.random.default_rng(seed)
    tokenizer = CharTokenizer("abc")
    states = np.array(["a", "abc", "", "bb"])[rng.integers(4, size=M)]
    ids = rng.integers(3, size=(M, L))
    lengths = rng.integers(1, L + 1, size=M)
    ids[np.arange(L) >= lengths[:, None]] = IGNORE
    ids[np.arange(M), lengths - 1] = 3
    ids[M // 2 :], states[M // 2 :] = ids[: M - M // 2], states[: M - M // 2]  # equal decisions
    shape = (M, 1)
    experience = episodes_of(
        rng.normal(size=shape), states.reshape(shape), states.reshape(shape), ids.reshape(M, 1, L)
    )
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


def test_policy_gradient_equals_the_complex_step(random_model, derivative):
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


# ---- collect


def test_collect_returns_whole_episodes_in_order(played):
    mdp, _, experience = played
    assert np.unique(experience.episodes).tolist() == list(range(12))
    assert (np.diff(experience.episodes) >= 0).all()
    for episode in range(12):
        part = experience.take(experience.episodes == episode)
        assert part.steps.tolist() == list(range(len(part)))
        assert (part.states[1:] == part.next_states[:-1]).all()
        assert not (part.terminated | part.truncated)[:-1].any()
        assert part.terminated[-1] != part.truncated[-1]
        assert len(part) <= mdp.horizon
        assert part.truncated[-1] == (len(part) == mdp.horizon and not part.terminated[-1])
    assert experience.returns().shape == (12,)


def test_collect_is_what_the_table_says(played):
    mdp, tokenizer, experience = played
    state = {text: s for s, text in enumerate(mdp.state_texts.tolist())}
    for k in range(len(experience)):
        s, a = state[str(experience.states[k])], mdp.action_index([str(experience.actions[k])])[0]
        outcomes = list(zip(mdp.successors[s, a], mdp.rewards[s, a], strict=True))
        assert (state[str(experience.next_states[k])], experience.rewards[k]) in outcomes
        ids = experience.action_ids[k]
        written = [*tokenizer.encode(str(experience.actions[k])), tokenizer.eos_token_id]
        assert ids[ids != IGNORE].tolist() == written
    assert (experience.log_probs == -np.log(4)).all()


def test_groups_share_their_start_and_play_on_their_own():
    _, _, experience = grid_experience(24, group=6)
    first = experience.take(experience.steps == 0)
    groups = first.states.reshape(4, 6)
    assert (groups == groups[:, :1]).all()
    assert len(np.unique(groups[:, 0])) > 1
    assert any(len(np.unique(row)) > 1 for row in first.actions.reshape(4, 6))


def test_the_same_seeds_collect_the_same(played):
    again, other = grid_experience()[2], grid_experience(seed=1)[2]
    for field in dataclasses.fields(Experience):
        assert getattr(again, field.name).tolist() == getattr(played[2], field.name).tolist()
    assert again.states.tolist() != other.states.tolist()


def test_an_agent_collects_what_it_wrote(random_model):
    mdp = envs.exact("text/bandit-2-1")
    tokenizer = tokenizer_of(mdp)
    agent = LLMAgent(model_for(random_model, tokenizer, n_positions=8), tokenizer, max_new_tokens=3, rng=0)
    experience = collect(envs.make_vector("text/bandit-2-1", 40, seed=0, autoreset="disabled"), agent.act)
    assert len(experience) == 40
    assert experience.rewards.tolist() == pays(mdp)[mdp.action_index(experience.actions.tolist())].tolist()


def test_the_uniform_policy_is_uniform():
    tokenizer = CharTokenizer("abc")
    choice = uniform_policy(tokenizer, ["a", "", "bca"], rng=0)(np.array(["s"] * 3000))
    assert choice.ids.shape == (3000, 4)
    texts, counts = np.unique(choice.texts, return_counts=True)
    assert texts.tolist() == ["", "a", "bca"]
    assert np.abs(counts - 1000).max() < 120
    assert (choice.log_probs == -np.log(3)).all()
    assert choice.ids[choice.texts == ""][0].tolist() == [3, IGNORE, IGNORE, IGNORE]
    assert choice.ids[choice.texts == "bca"][0].tolist() == [1, 2, 0, 3]


# ---- arrays of ids


def test_transcripts_equal_the_loop(played):
    _, tokenizer, experience = played
    ids, lengths = transcript_ids(tokenizer, experience)
    end = tokenizer.eos_token_id
    assert ids.shape[1] == lengths.max()
    for k in range(len(experience)):
        expected = [*tokenizer.encode(str(experience.states[k])), end]
        expected += [i for i in experience.action_ids[k].tolist() if i != IGNORE]
        expected += [*tokenizer.encode(f"{experience.rewards[k]:g}\n{experience.next_states[k]}"), end]
        assert ids[k, : lengths[k]].tolist() == expected
        assert (ids[k, lengths[k] :] == end).all()


def test_what_was_sampled_scores_as_it_was_sampled(random_model):
    """The log-probability that acting reports, and that of the stored ids under the same θ, are one number."""
    tokenizer = CharTokenizer("abc")
    model = model_for(random_model, tokenizer, tied=False, n_positions=12)
    states = np.array(["a", "abc", "", "bb"] * 5)
    choice = LLMAgent(model, tokenizer, max_new_tokens=4, rng=0).act(states)
    ids, at, targets = decision_ids(tokenizer, states, choice.ids)
    log_p, _ = log_softmax(model.forward(ids, at=at)[0])
    ell = np.take_along_axis(log_p, np.where(targets < 0, 0, targets)[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(np.where(targets < 0, 0, ell).sum(1), choice.log_probs, rtol=1e-11)


# ---- coefficients


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("group", [1, 6])
def test_coefficients_equal_the_loop(baseline, group):
    _, _, e = grid_experience(24, group)
    N = 24
    G = [e.rewards[(e.episodes == e.episodes[k]) & (e.steps >= e.steps[k])].sum() for k in range(len(e))]
    c = coefficients(e, baseline)
    for k in range(len(e)):
        same = [G[j] for j in range(len(e)) if e.states[j] == e.states[k]]
        apart = [G[j] for j in range(len(e)) if e.states[j] == e.states[k] and e.episodes[j] != e.episodes[k]]
        others = [G[j] for j in range(len(e)) if e.episodes[j] != e.episodes[k]]
        b = {"none": 0, "mean": np.mean(same), "leave_one_out": np.mean(apart or others)}[baseline]
        assert c[k] == pytest.approx((G[k] - b) / N, abs=1e-13)


# ---- fit and improve


def test_fit_learns_the_language(random_model, played):
    _, tokenizer, experience = played
    model = GPT(model_for(random_model, tokenizer).config, rng=0)
    losses = []
    fit(
        model, tokenizer, experience, steps=60, batch_size=16, lr=1e-2, rng=0,
        on_step=lambda step, loss: losses.append((step, loss)),
    )  # fmt: skip
    assert [step for step, _ in losses] == list(range(60))
    assert losses[0][1] == pytest.approx(np.log(tokenizer.vocab_size), rel=0.02)
    assert losses[-1][1] < 0.6 * losses[0][1]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_small_batches_fit(random_model, played, batch_size):
    _, tokenizer, experience = played
    model = model_for(random_model, tokenizer)
    before = model.parameters.vector.copy()
    fit(model, tokenizer, experience, steps=2, batch_size=batch_size, lr=1e-2, rng=0)
    assert (model.parameters.vector != before).any()


def test_shards_of_a_batch_are_the_batch(random_model, played, worst_block):
    _, tokenizer, experience = played
    model = model_for(random_model, tokenizer)
    ids, lengths = transcript_ids(tokenizer, experience.take(np.arange(5)))
    targets = np.where(np.arange(1, ids.shape[1]) < lengths[:, None], ids[:, 1:], IGNORE)
    loss, gradient = training.likelihood_gradient(model, ids[:, :-1], targets)
    logits, cache = model.forward(ids[:, :-1])
    value, dlogits = cross_entropy(logits, targets)
    assert loss == pytest.approx(value, rel=1e-14)
    assert worst_block(model, gradient, model.backward(dlogits, cache)) < 1e-12


def test_all_targets_ignored_leaves_the_weights_where_they_are(random_model):
    model = random_model()
    ids = np.array([[1, 2, 3], [3, 2, 1]])
    loss, gradient = training.likelihood_gradient(model, ids, np.full_like(ids, IGNORE))
    assert loss == 0
    before = model.parameters.vector.copy()
    training.descend(model, AdamW(model.parameters, weight_decay=0), gradient, 0, None)
    assert (model.parameters.vector == before).all()


def test_fit_by_the_same_seed_is_the_same(random_model, played):
    _, tokenizer, experience = played
    vectors = []
    for seed in (0, 0, 1):
        model = GPT(model_for(random_model, tokenizer).config, rng=0)
        fit(model, tokenizer, experience, steps=3, batch_size=4, lr=1e-2, rng=seed)
        vectors.append(model.parameters.vector)
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[0] != vectors[2]).any()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_fit_before_the_step(random_model, played):
    _, tokenizer, experience = played
    model = model_for(random_model, tokenizer)
    model.parameters["h.1.mlp.c_fc.bias"][0] = np.nan
    before = model.parameters.vector.copy()
    with pytest.raises(NonFiniteError, match="the loss is nan in step 0 of fit"):
        fit(model, tokenizer, experience, steps=3, batch_size=4, lr=1e-2, rng=0)
    np.testing.assert_array_equal(model.parameters.vector, before)


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


def test_an_unknown_baseline_is_named(random_model):
    with pytest.raises(UserError, match="baseline must be one of none, mean, leave_one_out, got 'value'"):
        coefficients(random_decisions()[1], "value")


def test_a_gradient_is_clipped_before_the_step(random_model):
    tokenizer, _, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    seen = []

    class Recorder:
        def step(self, gradient, lr):
            seen.append(gradient.copy())

    training.descend(model, Recorder(), np.full_like(model.parameters.vector, 3.0), 0, None)
    training.descend(model, Recorder(), np.full_like(model.parameters.vector, 3.0), 0, None, max_norm=2.0)
    assert [np.linalg.norm(g) for g in seen] == pytest.approx([1.0, 2.0])


def test_the_logits_of_a_prompt_are_those_of_its_decision(random_model):
    """Acting and learning see the same prompt: what read() returns is the first row that decision_ids scores."""
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    ids, at, _ = decision_ids(tokenizer, experience.states, experience.action_ids)
    z, _ = model.forward(ids, at=at)
    _, logits = read(model, ids, at[:, 0] + 1)
    assert np.abs(logits - z[:, 0]).max() < 1e-12
