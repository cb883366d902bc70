"""The best steps of an experience, against a plain loop."""

import dataclasses

import numpy as np
import pytest

import envs
from minillm.experience import Experience
from minillm.imitation import RANKINGS, best_steps
from minillm.tokenizer import CharTokenizer
from minillm.training import collect, uniform_policy


def played(env, episodes):
    mdp = envs.exact(env)
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts])
    vector = envs.make_vector(env, episodes, seed=0, autoreset="disabled")
    return mdp, collect(vector, uniform_policy(tokenizer, mdp.action_texts, rng=0))


def loop_best_steps(experience, share, by):
    """State by state, step by step: the rows that are kept."""
    kept = []
    for state in np.unique(experience.states):
        rows = np.flatnonzero(experience.states == state).tolist()
        came = {i: experience.rewards[i:][experience.episodes[i:] == experience.episodes[i]].sum() for i in rows}
        if by == "action":
            kind = {i: str(experience.actions[i]) for i in rows}
            came = {i: np.mean([came[j] for j in rows if kind[j] == kind[i]]) for i in rows}
        kept += sorted(rows, key=lambda i: -round(came[i], 9))[: int(np.ceil(share * len(rows)))]
    return sorted(kept)


@pytest.mark.parametrize("by", RANKINGS)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 1.0])
def test_the_best_steps_equal_the_loop(share, by):
    _, experience = played("grid/empty-3", 60)
    best, kept = best_steps(experience, share, by), loop_best_steps(experience, share, by)
    for field in dataclasses.fields(Experience):
        np.testing.assert_array_equal(getattr(best, field.name), getattr(experience, field.name)[kept])


def test_the_best_steps_of_a_one_step_task_are_its_best_answers():
    mdp, experience = played("text/copy-2-2", 2000)
    best = best_steps(experience, 0.01)
    assert (best.actions == best.states).all()
    assert set(best.states) == set(mdp.state_texts[~mdp.terminal])


def test_by_action_luck_is_not_imitated():
    """On the slippery lake the action that is best on average is the greedy one of Q, though every action is lucky at times."""
    mdp, experience = played("grid/frozenlake", 20000)
    values = {}
    for by in RANKINGS:
        best = best_steps(experience, 0.2, by)
        counts = np.zeros((len(mdp.state_texts), mdp.invalid))
        state = [mdp.state_texts.tolist().index(text) for text in best.states.tolist()]
        np.add.at(counts, (state, mdp.action_index(best.actions)), 1)
        values[by] = mdp.value(counts / np.maximum(counts.sum(-1, keepdims=True), 1))
    assert values["action"] > 0.4 > 0.2 > values["step"] > mdp.value(mdp.uniform())
