import numpy as np
import pytest

import envs
from envs.translation import chrf, chrf_table, sentences


def test_sentences():
    pairs = sentences()
    assert pairs["red cats run"] == "mik luk nek"
    assert pairs["dog sits"] == "to sa"
    assert len(pairs) == len(set(pairs.values())) == 24


def test_chrf_values():
    for text in ("a", "ab", "mik luk nek"):
        assert chrf(text, text) == 1
    assert chrf("", "a") == chrf("a", "") == chrf("b", "a") == 0
    assert chrf("ab", "ac") == pytest.approx(0.25)  # P = R = (1/2 + 0) / 2


def test_table_equals_the_plain_scorer():
    mdp = envs.exact("translate/lexicon")
    targets = list(sentences().values())
    answers = ["", "x", *mdp.action_texts[::40].tolist(), *targets]
    expected = [[chrf(answer, target) for answer in answers] for target in targets]
    assert chrf_table(answers, targets) == pytest.approx(np.array(expected), rel=1e-12)


@pytest.mark.parametrize("reward", ["chrf", "sparse"])
def test_audit_by_exhaustion(reward):
    mdp = envs.exact("translate/lexicon", reward=reward)
    for s, target in enumerate(sentences().values()):
        row = mdp.rewards[s, :-1, 0]
        assert mdp.action_texts[row >= 1 - 1e-12].tolist() == [target]
        assert mdp.state_texts[s] == list(sentences())[s]
    with pytest.raises(ValueError, match="reward"):
        envs.exact("translate/lexicon", reward="bleu")
