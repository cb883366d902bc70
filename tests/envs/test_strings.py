from itertools import combinations

import numpy as np
import pytest

import envs
from envs.strings import TASKS, lcs_length, lcs_share
from envs.tables import strings_up_to


def brute_lcs(a, b):
    for n in range(min(len(a), len(b)), 0, -1):
        if {"".join(c) for c in combinations(a, n)} & {"".join(c) for c in combinations(b, n)}:
            return n
    return 0


def test_lcs_equals_brute_force_and_is_symmetric():
    texts = strings_up_to("abc", 3)
    for a in texts:
        for b in texts:
            assert lcs_length(a, b) == brute_lcs(a, b) == lcs_length(b, a)


def test_share_values():
    assert lcs_share("tide", "diet") == lcs_share("diet", "tide") == 0.5
    assert lcs_share("", "a") == 0
    assert lcs_share("ab", "abc") == lcs_share("abc", "ab") == 2 / 3


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("reward", ["partial", "sparse"])
def test_audit_by_exhaustion(task, reward):
    mdp = envs.exact(f"text/{task}", reward=reward)
    answers = mdp.action_texts.tolist()
    for s, prompt in enumerate(mdp.state_texts.tolist()[:-1]):
        row = mdp.rewards[s, :-1, 0]
        assert [answers[a] for a in np.flatnonzero(row == row.max())] == [TASKS[task](prompt)]
        assert (row.max(), row[0], mdp.rewards[s, -1, 0]) == (1, 0, 0)


def test_targets_and_sizes():
    assert [TASKS[t]("cabc") for t in ("copy", "reverse", "sort", "dedup")] == ["cabc", "cbac", "abcc", "cab"]
    assert len(envs.exact("text/copy-2-2").state_texts) == 7
    for id in ("text/copy-0-1", "text/sort-9-9"):
        with pytest.raises(ValueError, match="letters"):
            envs.exact(id)
    with pytest.raises(ValueError, match="reward"):
        envs.exact("text/copy", reward="x")
