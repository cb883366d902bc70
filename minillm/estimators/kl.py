r"""KL to a reference policy: three estimators of its value, and what each is as a gradient.

With $x = \log\pi/\pi_{ref}$ of what was sampled, a token or a whole sequence (Schulman 2020),

$$k_1 = x, \qquad k_2 = x^2/2, \qquad k_3 = e^{-x} - 1 + x \tag{1}$$

each of expectation $KL(\pi\|\pi_{ref})$ but $k_2$, which is so to second order. *In the loss* k is differentiated: the coefficient is
$-\beta k'(x)$,

$$k_1' = 1, \qquad k_2' = x, \qquad k_3' = 1 - e^{-x} \tag{2}$$

*In the reward* k is a number that the score multiplies: $-\beta k(x)$. Because $E[\nabla\ell] = 0$,
$\nabla KL(\pi\|\pi_{ref}) = E[x\,\nabla\ell]$ and $E[e^{-x}\nabla\ell] = \sum\pi_{ref}\nabla\log\pi = -\nabla KL(\pi_{ref}\|\pi)$:

* $k_1$ in the loss has expectation 0, whatever the two policies are; $k_1$ in the reward is ∇KL, and so is $k_2$ in the loss;
* $k_3$ in the loss is the gradient of the KL the other way round;
* $E[k\,\nabla\ell] = \nabla E[k] - E[k'\nabla\ell]$: what k in the reward lacks is what k in the loss is.

Per token the contexts are frozen: that a token changes which contexts come later is left out, so the sum over an episode is not the
gradient of the sequence's KL, nor of any function. Per sequence nothing is left out (Tang & Munos 2025, 2506.09477).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.errors import UserError
from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator, register
from minillm.estimators.forms import Form, per_episode, sequence_level, token_level
from minillm.estimators.weights import Weight

KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # (1)
    "k1": lambda x: x,
    "k2": lambda x: x**2 / 2,
    "k3": lambda x: np.expm1(-x) + x,
}
DERIVATIVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # (2)
    "k1": np.ones_like,
    "k2": lambda x: x,
    "k3": lambda x: -np.expm1(-x),
}
INTEGRALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "k1": lambda x: x**2 / 2,
    "k2": lambda x: x**3 / 6,
    "k3": lambda x: -np.expm1(-x) - x + x**2 / 2,
}
FORMULAS = {
    ("k1", "loss"): "1", ("k2", "loss"): "x", ("k3", "loss"): "(1 − e^−x)",
    ("k1", "reward"): "x", ("k2", "reward"): "x²/2", ("k3", "reward"): "(e^−x − 1 + x)",
}  # fmt: skip
ESTIMATED = {
    ("k1", "loss"): "0", ("k2", "loss"): "KL", ("k3", "loss"): "KL(π_ref‖π)",
    ("k1", "reward"): "KL", ("k2", "reward"): "(E[x²/2] − KL)", ("k3", "reward"): "(KL − KL(π_ref‖π))",
}  # fmt: skip


def kl_penalty(
    kind: str, place: str, level: str, beta: float = 1.0, scale: Callable[[Batch], np.ndarray] = per_episode
) -> Estimator:
    r"""Return the estimator of −β·KL that ``kind`` gives in the ``place``, per ``level``.

    Parameters
    ----------
    kind : {"k1", "k2", "k3"}
    place : {"loss", "reward"}
    level : {"token", "sequence"}
        Per token contexts are frozen. Per sequence x is the sum over its tokens.
    beta : float
    scale : callable
        Weights of the mean over tokens, for level "token".
    """
    if (kind, place) not in FORMULAS or level not in ("token", "sequence"):
        raise UserError(f"a KL penalty is k1, k2 or k3, in the loss or the reward, per token or sequence, got {kind}, {place}, {level}")
    value, slope = (KINDS, DERIVATIVES) if place == "loss" else (INTEGRALS, KINDS)
    weight = Weight(lambda x, A: A * value[kind](x), lambda x, A: A * slope[kind](x))
    form = _form(level, lambda batch: np.full(len(batch), -beta), weight, scale)
    frozen = "frozen-context " if level == "token" else ""
    objective = "0" if ESTIMATED[kind, place] == "0" else f"−∇ of the {frozen}{ESTIMATED[kind, place]}"
    x = "ℓ[i,t] − ref[i,t]" if level == "token" else "Σ_t (ℓ[i,t] − ref[i,t])"
    return Estimator(
        f"kl_{kind}_{place}_{level}", objective, f"c[i,t] = −β·{FORMULAS[kind, place]} / N, x = {x}",
        "Schulman 2020; Tang & Munos 2025 (2506.09477)", *form, needs=("ref_log_probs",),
    )  # fmt: skip


def _form(level: str, advantage: Callable, weight: Weight, scale: Callable) -> Form:
    if level == "sequence":
        return sequence_level(advantage, weight, log_ratio=Batch.ref_log_ratio)
    return token_level(advantage, weight, scale, Batch.ref_log_ratio)


def kl_full(beta: float = 1.0) -> Estimator:
    r"""Return the gradient of $-\beta\sum_v\pi_v\log(\pi_v/\pi_{ref,v})$ at each sampled context, over the whole vocabulary.

    $C_v = -\beta\,\pi_v\,(\log\pi_v/\pi_{ref,v} + 1)/N$; a token of probability 0 has 0.
    """

    def terms(batch: Batch, one: float) -> np.ndarray:
        p = np.where(batch.mask[..., None], np.exp(batch.given("full_log_probs")), 0)
        log_p, log_q = (np.where(p != 0, batch.given(name), 0) for name in ("full_log_probs", "full_ref_log_probs"))
        return -beta * per_episode(batch)[..., None] * p * (log_p - log_q + one)

    def surrogate(batch: Batch) -> Any:
        return terms(batch, 0.0).sum()

    return Estimator(
        "kl_full", "−∇ of the frozen-context KL", "C[i,t,v] = −β·π(v)·(log π(v)/π_ref(v) + 1) / N",
        "Schulman 2020; Tang & Munos 2025 (2506.09477)",
        lambda batch: terms(batch, 1.0), surrogate, dense=True, needs=("full_log_probs", "full_ref_log_probs"),
    )  # fmt: skip


def kl_in_reward(estimator: Estimator, beta: float, kind: str = "k1", level: str = "token") -> Estimator:
    r"""Return the estimator on the rewards $r_{it} - \beta k(x_{it})$, or with $\beta k(X_i)$ taken off the last token's reward.

    With $k_1$ an unbiased estimator of ∇J becomes one of $\nabla(J - \beta\,KL(\pi\|\pi_{ref}))$, contexts not frozen (Ouyang et al.
    2022, eq. 2); with another k the part $\beta E[\nabla k]$ is missing. The shaped rewards are constants: there is no surrogate.
    """

    def shaped(batch: Batch) -> Batch:
        x = batch.ref_log_ratio()
        if level == "sequence":
            last = batch.mask & (np.add.accumulate(batch.mask, axis=1) == batch.lengths()[:, None])
            x = np.where(last, batch.episode_sums(x)[:, None], 0)
        return dataclasses.replace(batch, rewards=batch.given("rewards") - beta * KINDS[kind](x))

    return dataclasses.replace(
        estimator, name=f"{estimator.name}+{kind}", objective=f"{estimator.objective} of R − β·{kind}", surrogate=None, factor=None,
        coefficients=lambda batch: estimator.coefficients(shaped(batch)), needs=(*estimator.needs, "ref_log_probs"),
    )  # fmt: skip


for kind in KINDS:
    for place in ("reward", "loss"):
        for level in ("token", "sequence"):
            register(kl_penalty(kind, place, level))
register(kl_full())
