import numpy as np
import pytest

import envs
from envs.grammar import balanced_prefix, kl_optimum


@pytest.mark.parametrize("reward", ["partial", "sparse"])
def test_audit_by_exhaustion(reward):
    mdp = envs.exact("generate/grammar", reward=reward)
    for s, (length, catalan) in enumerate([(2, 1), (4, 2), (6, 5)]):
        best = mdp.action_texts[mdp.rewards[s, :-1, 0] == 1].tolist()
        assert len(best) == catalan
        for text in best:
            assert len(text) == length
            while "()" in text:
                text = text.replace("()", "")
            assert text == ""
        assert mdp.rewards[s, 0, 0] == 0


def test_prefix():
    assert [balanced_prefix(t) for t in ("", "(", ")", "()(", "())(", "(())")] == [0, 0, 0, 2, 2, 4]
    for id in ("generate/grammar-3", "generate/grammar-16"):
        with pytest.raises(ValueError, match="even"):
            envs.exact(id)


def test_kl_optimum_is_the_gibbs_policy():
    mdp, beta = envs.exact("generate/grammar-4"), 0.3
    rng = np.random.default_rng(0)
    reference = rng.dirichlet(np.ones(mdp.invalid + 1), len(mdp.state_texts))[:, :-1]

    def objective(policy):
        full = [np.concatenate([p, 1 - p.sum(-1, keepdims=True)], -1) for p in (policy, reference)]
        kl = (full[0] * np.log(full[0] / full[1])).sum(-1)
        return mdp.value(policy) - beta * mdp.start @ kl

    policy, value = kl_optimum(mdp, reference, beta)
    assert objective(policy) == pytest.approx(value, rel=1e-12)
    for other in (reference, 0.9 * policy + 0.1 * reference):
        assert objective(other) < value
    with pytest.raises(ValueError, match="beta"):
        kl_optimum(mdp, reference, 0.0)
