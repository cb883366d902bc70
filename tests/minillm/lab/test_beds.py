"""Everything that can happen on a bed is there, once, with its probability."""

import itertools
import json

import numpy as np
import pytest

from minillm.lab import beds
from minillm.lab.exact import expected_return
from minillm.lab.gate_cases import small_model


def made():
    return [beds.published()[0], beds.token_walk(), beds.dialogue()[0]]


def test_the_published_bed_is_the_stored_one():
    stored = json.loads(beds.PUBLISHED.read_text(encoding="utf-8"))
    bed, logits = beds.published()
    assert bed.contexts == [(0, *context) for context in stored["contexts"]]
    assert logits.shape == (7, 3)
    assert len(stored["episodes"]) == len(bed.chance) == 15
    for row, episode in enumerate(stored["episodes"]):
        assert bed.tokens[row, bed.mask[row]].tolist() == episode["tokens"]
        assert bed.rewards[row, bed.mask[row]].tolist() == episode["rewards"]
        assert [bed.contexts[k] for k in bed.context[row, bed.mask[row]]] == [
            (0, *episode["tokens"][:t]) for t in range(len(episode["tokens"]))
        ]


@pytest.mark.parametrize("bed", made(), ids=lambda bed: bed.name)
def test_episodes_are_all_different_and_their_probabilities_sum_to_one(bed):
    episodes = np.concatenate([bed.nodes, bed.tokens, bed.rewards, bed.start[:, None]], axis=1)
    rows = {tuple(row.tolist()) for row in episodes}
    assert len(rows) == len(bed.chance)
    for seed in range(3):
        z = np.random.default_rng(seed).normal(size=(len(bed.contexts), bed.vocab_size))
        pi = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        p = [
            chance * np.prod([pi[k, b] for k, b, m in zip(*row, strict=True) if m])
            for chance, *row in zip(bed.chance, bed.context, bed.tokens, bed.mask, strict=True)
        ]
        assert sum(p) == pytest.approx(1, abs=1e-14)


def test_the_walk_follows_its_table_and_reads_a_context_twice():
    bed = beds.token_walk()
    state = {prompt: s for s, prompt in enumerate(bed.prompts)}
    for row in range(len(bed.chance)):
        x = [state[bed.contexts[k]] for k in bed.context[row, bed.mask[row]]]
        b = bed.tokens[row, bed.mask[row]]
        for t, (s, following) in enumerate(itertools.pairwise(x)):
            k = np.flatnonzero(bed.mdp.successors[s, b[t]] == following)
            assert bed.mdp.probabilities[s, b[t], k].sum() > 0
            assert bed.rewards[row, t] in bed.mdp.rewards[s, b[t], k]
        assert b[-1] == 0 or len(b) == bed.mdp.horizon
    assert any(len(set(k[m].tolist())) < m.sum() for k, m in zip(bed.context, bed.mask, strict=True))


def test_the_dialogue_has_observations_between_its_turns_and_pays_at_the_last_token_of_each():
    bed, _ = beds.dialogue()
    holes = [not m[np.flatnonzero(m)[0] : np.flatnonzero(m)[-1]].all() for m in bed.mask]
    assert 0 < sum(holes) < len(holes)
    assert set(bed.start) == {0, 1}
    for mask, turns, rewards in zip(bed.mask, bed.turns, bed.rewards, strict=True):
        for turn in set(turns[mask]):
            assert (rewards[mask & (turns == turn)][:-1] == 0).all()
        assert (turns[~mask] == -1).all()


def test_a_context_of_the_dialogue_is_what_the_agent_reads():
    bed, tokenizer = beds.dialogue()
    model = small_model(bed.vocab_size, 4, seed=4)
    log_pi = np.zeros((len(bed.contexts), bed.vocab_size))
    for k, context in enumerate(bed.contexts):
        logits = model.forward(np.array([context]), keep=False)[0][0, -1]
        log_pi[k] = logits - np.log(np.exp(logits).sum())
    p = bed.chance * np.exp(np.where(bed.mask, log_pi.reshape(-1)[bed.flat], 0).sum(axis=1))
    assert p @ bed.returns == pytest.approx(expected_return(model, tokenizer, bed.mdp), rel=1e-13)


@pytest.mark.parametrize("bed", made(), ids=lambda bed: bed.name)
def test_one_history_has_one_context(bed):
    pairs = set(zip(bed.nodes[bed.mask].tolist(), bed.context[bed.mask].tolist(), strict=True))
    assert len(pairs) == len({node for node, _ in pairs})
