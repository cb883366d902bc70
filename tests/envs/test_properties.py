"""Properties that hold for every table: strings, rows of a batch, the modes of resetting."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs.mdp import ExactMDP
from envs.vector import AUTORESET, VectorEnv

LOOKALIKES = {"n": "\uff4e", "o": "\u03bf", "1": "\u0661", "2": "\uff12", "-": "\u2212", " ": "\xa0"}


@st.composite
def tables(draw):
    """A random table with up to 5 states, 3 actions of 1 to 4 letters, 3 outcomes and 4 steps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    S, A, K, H = (draw(st.integers(low, high)) for low, high in ((2, 5), (1, 3), (1, 3), (1, 4)))
    actions = draw(st.lists(st.text("abAé\n 猫", min_size=0, max_size=4), min_size=A, max_size=A, unique=True))
    end = np.arange(S) == S - 1
    successors, rewards = rng.integers(0, S, (S, A + 1, K)), rng.normal(size=(S, A + 1, K))
    successors[-1], rewards[-1] = S - 1, 0
    start = np.append(rng.dirichlet(np.ones(S - 1)), 0)
    texts = np.array([f"state {s}" for s in range(S)])
    p = rng.dirichlet(np.ones(K), (S, A + 1))
    return ExactMDP("random", texts, np.array(actions), end, start, H, successors, p, rewards)


@given(tables(), st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=6))
def test_a_string_is_an_action_exactly_when_it_is_canonical(mdp, others):
    canonical = mdp.action_texts.tolist()
    texts = canonical + others
    expected = [canonical.index(text) if text in canonical else mdp.invalid for text in texts]
    assert mdp.action_index(texts).tolist() == expected
    assert mdp.action_index(np.array(texts)).tolist() == expected


@pytest.mark.parametrize("id", envs.ids())
def test_what_resembles_a_canonical_string_is_invalid(id):
    mdp = envs.exact(id)
    canonical = set(mdp.action_texts.tolist())
    for text in mdp.action_texts[:: max(1, len(canonical) // 20)].tolist():
        changed = [text + " ", " " + text, text + "\n", text + "\0", text.upper(), text.title(), text + text]
        changed += [text.replace(ours, other) for ours, other in LOOKALIKES.items()]
        near = [other for other in changed if other not in canonical]
        assert (mdp.action_index(near) == mdp.invalid).all(), near
    env = envs.make(id, seed=0)
    start, _ = env.reset()
    assert env.step("\ud800\0")[0] == (start if mdp.horizon > 1 else env.render())


def alone(env, action, mode, over):
    """One step of a single environment in a mode: (observation, reward, terminated, truncated, final observation)."""
    if over and mode == "next_step":
        return env.reset()[0], 0.0, False, False, ""
    obs, reward, terminated, truncated, _ = env.step(action)
    final = ""
    if (terminated or truncated) and mode == "same_step":
        obs, final = env.reset()[0], obs
    return obs, reward, terminated, truncated, final


@settings(deadline=None)
@given(tables(), st.integers(1, 5), st.integers(0, 2**70), st.sampled_from(AUTORESET), st.randoms(use_true_random=False))
def test_a_row_of_a_batch_is_its_environment_alone(mdp, n, seed, mode, random):
    """Rows that rest draw nothing; rows that end begin again as their mode says."""
    vector, singles = VectorEnv(mdp, n, seed, autoreset=mode), [envs.TextEnv(mdp, seed, i) for i in range(n)]
    assert vector.reset()[0].tolist() == [env.reset()[0] for env in singles]
    over = np.zeros(n, dtype=bool)
    for _ in range(12):
        if mode == "disabled" and over.any():
            obs, _ = vector.reset(options={"reset_mask": over})
            assert obs[over].tolist() == [env.reset()[0] for env, ended in zip(singles, over, strict=True) if ended]
        actions = [random.choice([*mdp.action_texts.tolist(), "?"]) for _ in range(n)]
        where = np.array([random.random() < 0.8 for _ in range(n)])
        obs, reward, terminated, truncated, info = vector.step(actions, where=where)
        assert not reward[~where].any()
        assert not (terminated | truncated)[~where].any()
        for i in where.nonzero()[0]:
            expected = alone(singles[i], actions[i], mode, over[i])
            assert (obs[i], reward[i], terminated[i], truncated[i]) == expected[:4]
            if mode == "next_step":
                assert info["reset"][i] == over[i]
            if mode == "same_step":
                assert (info["final_obs"][i], info["_final_obs"][i]) == (expected[4], bool(expected[2] or expected[3]))
        over = np.where(where, (terminated | truncated) & (mode != "same_step"), over & (mode != "disabled"))


def test_the_hash_seed_of_python_changes_nothing():
    code = "import envs; e = envs.make('grid/keydoor', 3); print(e.reset(), [e.step('up') for _ in range(9)], envs.ids())"
    outputs = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert b"A" in outputs.pop()
