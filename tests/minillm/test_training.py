"""The four steps: collect, fit, act, improve."""

import dataclasses

import numpy as np
import pytest

import envs
from minillm import training
from minillm.agent import LLMAgent
from minillm.errors import NonFiniteError, UserError
from minillm.experience import IGNORE, Experience
from minillm.objectives import cross_entropy
from minillm.optimizers import AdamW
from minillm.threads import parallel_map
from minillm.tokenizer import CharTokenizer
from minillm.training import (
    coefficients,
    collect,
    fit,
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
    np.testing.assert_allclose(experience.log_probs.sum(1), -np.log(4), rtol=1e-15)


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
    np.testing.assert_allclose(choice.log_probs.sum(1), -np.log(3), rtol=1e-15)
    assert choice.ids[choice.texts == ""][0].tolist() == [3, IGNORE, IGNORE, IGNORE]
    assert choice.ids[choice.texts == "bca"][0].tolist() == [1, 2, 0, 3]


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


# ---- fit


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


def test_an_unknown_baseline_is_named(played):
    with pytest.raises(UserError, match="baseline must be one of none, mean, leave_one_out, got 'value'"):
        coefficients(played[2], "value")


def test_a_gradient_is_clipped_before_the_step(random_model):
    model = random_model()
    seen = []

    class Recorder:
        def step(self, gradient, lr):
            seen.append(gradient.copy())

    training.descend(model, Recorder(), np.full_like(model.parameters.vector, 3.0), 0, None)
    training.descend(model, Recorder(), np.full_like(model.parameters.vector, 3.0), 0, None, max_norm=2.0)
    assert [np.linalg.norm(g) for g in seen] == pytest.approx([1.0, 2.0])


def test_the_uniform_policy_gives_each_token_its_share_of_the_texts():
    tokenizer = CharTokenizer("abc")
    choice = uniform_policy(tokenizer, ["a", "ab", "b", "abc"], rng=0)(np.array(["s"] * 50))
    share = {"a": [3 / 4, 1 / 3], "ab": [3 / 4, 2 / 3, 1 / 2], "b": [1 / 4, 1], "abc": [3 / 4, 2 / 3, 1 / 2, 1]}
    for text, log_probs in zip(choice.texts, choice.log_probs, strict=True):
        np.testing.assert_allclose(np.exp(log_probs[: len(text) + 1]), share[str(text)], rtol=1e-14)
        assert (log_probs[len(text) + 1 :] == 0).all()


def test_a_batch_in_any_number_of_parts_has_the_gradient_of_the_whole(random_model):
    model = random_model()
    ids, targets = np.random.default_rng(0).integers(7, size=(2, 7, 6))
    targets[2, 1:], targets[5] = IGNORE, IGNORE  # parts of different weight
    loss, gradient = training.likelihood_gradient(model, ids, targets, parts=1)
    for parts in (2, 3, 7, 50):
        again, other = training.likelihood_gradient(model, ids, targets, parts=parts)
        assert abs(again - loss) < 1e-14
        assert np.abs(other - gradient).max() < 1e-14 * max(1, np.abs(gradient).max())


@pytest.mark.parametrize("cores", [1, 2])
def test_a_batch_is_cut_by_its_work_and_not_by_the_cores(random_model, monkeypatch, cores):
    model, parts = random_model(), []
    monkeypatch.setattr("minillm.threads._cores", lambda: cores)
    monkeypatch.setattr(training, "parallel_map", lambda f, items: parts.append(len(items)) or parallel_map(f, items))
    rows = -(-training.SHARDED_WORK // (6 * model.parameters.vector.size))  # the first batch that is worth it
    for B in (1, rows - 1, rows):
        ids = np.zeros((B, 6), int)
        training.likelihood_gradient(model, ids, ids)
    assert parts == [1, 1, training.SHARDS]


def test_each_part_of_a_batch_has_dropout_of_its_own_and_a_seed_repeats_it(random_model):
    plain = random_model()
    model = GPT.from_vector(dataclasses.replace(plain.config, resid_pdrop=0.5), plain.parameters.vector)
    ids = np.tile([1, 2, 3, 4], (2, 1))  # twice the same row: the same gradient, were it not for dropout
    loss, gradient = training.likelihood_gradient(model, ids, ids, parts=2, rng=0)
    again, other = training.likelihood_gradient(model, ids, ids, parts=2, rng=0)
    assert (loss, gradient.tobytes()) == (again, other.tobytes())
    logits, _ = model.forward(ids[:1], rng=np.random.default_rng(0).spawn(2)[0])
    second, _ = model.forward(ids[1:], rng=np.random.default_rng(0).spawn(2)[1])
    assert (logits != second).any()
    assert loss == pytest.approx((cross_entropy(logits, ids[:1])[0] + cross_entropy(second, ids[1:])[0]) / 2, rel=1e-14)
    assert training.likelihood_gradient(model, ids, ids)[0] == training.likelihood_gradient(plain, ids, ids)[0]
