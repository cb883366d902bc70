r"""Generation from a small grammar, and the optimum under a Kullback-Leibler penalty in closed form."""

import numpy as np

from envs.core import register
from envs.mdp import ExactMDP
from envs.strings import SCORERS
from envs.tables import one_step, strings_up_to


def balanced_prefix(text: str) -> int:
    """Return the length of the longest balanced prefix of a string of brackets."""
    depth = longest = 0
    for i, bracket in enumerate(text, 1):
        depth += 1 if bracket == "(" else -1
        if depth < 0:
            break
        if depth == 0:
            longest = i
    return longest


def bracket_score(text: str, length: int, reward: str) -> float:
    """Return 1 for a balanced string of the length; partial: its prefix, up to the length, over the longer length."""
    share = min(balanced_prefix(text), length) / max(len(text), length)
    return share if reward == "partial" else float(share == 1)


def grammar(id: str, L: int = 6, reward: str = "partial") -> ExactMDP:
    r"""`generate/grammar-L`: write a balanced string of brackets of the length asked for (`4:`); $H = 1$.

    Prompts: the even lengths 2, 4, ..., L; actions: all strings of 0 to L brackets. Options: `reward="partial"` (the
    longest balanced prefix as a share) or `"sparse"`. The grammar is $S \to \varepsilon \mid (S)S$.
    """
    if L % 2 or not 2 <= L <= 14:
        raise ValueError(f"{id}: the length must be even, 2 to 14, got {L}")
    if reward not in SCORERS:
        raise ValueError(f"{id}: reward must be one of {sorted(SCORERS)}, got {reward!r}")
    lengths, answers = range(2, L + 1, 2), strings_up_to("()", L)
    scores = np.array([[bracket_score(answer, length, reward) for answer in answers] for length in lengths])
    return one_step(id, [f"{length}:" for length in lengths], answers, scores)


def kl_optimum(mdp: ExactMDP, reference: np.ndarray, beta: float) -> tuple[np.ndarray, float]:
    r"""Return the policy that maximises $E[r] - \beta \, \mathrm{KL}(\pi \| \rho)$ in a one-step task, and the maximum.

    $\pi^*(b|s) = \rho(b|s) e^{r(s,b)/\beta} / Z(s)$ with $Z(s) = \sum_b \rho(b|s) e^{r(s,b)/\beta}$ over the valid
    strings and `invalid`; the maximum is $\beta \sum_s \mu(s) \log Z(s)$ (the Gibbs variational principle).

    Parameters
    ----------
    reference : ndarray of shape (S, A), the policy $\rho$
    beta : float > 0
    """
    if mdp.horizon != 1 or not beta > 0:
        raise ValueError(f"needs a one-step task and beta > 0, got horizon {mdp.horizon} and beta {beta!r}")
    full = np.concatenate([reference, 1 - reference.sum(-1, keepdims=True)], axis=-1).clip(min=0)
    top = mdp.mean_rewards.max(-1, keepdims=True)
    weights = full * np.exp((mdp.mean_rewards - top) / beta)
    Z = weights.sum(-1, keepdims=True)
    return (weights / Z)[:, :-1], float(mdp.start @ (top + beta * np.log(Z))[:, 0])


def _small(id: str, reward: str = "partial") -> ExactMDP:
    return grammar(id, reward=reward)


register("generate/grammar", _small)
register("generate/grammar-{L}", grammar)
