r"""Methods for several updates from one batch: PPO and its relatives without a critic.

The ratio $\rho_{it} = \pi_\theta/\pi_{old}$ is that of a token, or for GSPO of the sequence. The derivative of PPO's
$\min(\rho A, \mathrm{clip}(\rho)A)$ by $\log\rho$, and so the coefficient, is

$$c_{it} = \frac1N\,\rho_{it}A_{it}, \quad\text{or } 0 \text{ if } A > 0 \text{ and } \rho > 1+\epsilon, \text{ or } A < 0 \text{ and }
  \rho < 1-\epsilon \tag{1}$$

Before the first update every ratio is exactly 1 and nothing is clipped. There GRPO is

$$c_{it} = \frac1{N\,|o_i|}\cdot\frac{R_i - \bar R}{\mathrm{std}(R)} \tag{2}$$

**Why GRPO does not estimate** $\nabla J$. Take its parts one at a time, one prompt, groups of G.

1. The *mean* with the own reward in it costs the factor $1-\frac1G$ (:mod:`minillm.estimators.reinforce`): harmless, ``dr_grpo``.
2. The *length* $|o_i|$. Without the standard deviation $E[\hat g] = (1-\frac1G)\big(\nabla E[R/|o|] - J\,\nabla E[1/|o|]\big)$: the baseline
   is divided by the length, too, and no longer drops out. $J\,\nabla L$ with $L = E[1/|o|]$ has the Jacobian
   $\nabla L\,\nabla J^\top + J\,\nabla^2L$, which is not symmetric unless $\nabla J$ and $\nabla L$ are parallel. A Hessian is
   symmetric: so this is the gradient of no function at all. A long answer is rewarded, and punished, less for each token.
3. The *standard deviation* is computed from the same rewards. For two rewards, 0 and 1, $E[\hat g]$ is a function of J times
   $\nabla J$ (for large G it is $\nabla J/\sqrt{J(1-J)}$): a gradient, of another objective for each prompt. For three rewards and
   more it is none.

What distinguishes DAPO, CISPO and GSPO is a length and the standard deviation again: each is the gradient of nothing. ``minillm explain
grpo`` measures it: the asymmetry of the Jacobian of $E[\hat g]$, which is 0 for every gradient. KL terms of the papers are apart: see
:mod:`minillm.estimators.kl` and :mod:`minillm.estimators.combining`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minillm.estimators.advantages import gae, group_normalised, to_go, whitened
from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator, register
from minillm.estimators.forms import sequence_level, sequence_mean, token_level, token_mean
from minillm.estimators.reinforce import shrunk
from minillm.estimators.weights import ppo_clipped, truncated
from minillm.returns import mean_advantages

NOTHING = "no gradient of any function"


def normalised(ddof: int = 1) -> Callable[[Batch], np.ndarray]:
    """Return the function from a batch to its group-normalised advantages (N,)."""
    return lambda batch: group_normalised(batch.total_rewards(), batch.groups, ddof)


def ppo_clip(epsilon: float = 0.2, gamma: float = 1.0, lam: float = 0.95) -> Estimator:
    """Return PPO with a clipped ratio and generalised advantages; ε and λ are the paper's."""
    return Estimator(
        "ppo_clip", "∇ of the clipped surrogate of the old policy's contexts (at θ = θ_old: gae's)",
        "c[i,t] = ρA / N, 0 where A > 0 and ρ > 1+ε or A < 0 and ρ < 1−ε", "Schulman et al. 2017, eq. 7 and 11",
        *token_level(lambda batch: gae(batch, gamma, lam), ppo_clipped(1 - epsilon, 1 + epsilon)), needs=("values",),  # (1)
    )  # fmt: skip


def grpo(epsilon: float = 0.2, ddof: int = 1) -> Estimator:
    r"""Return GRPO: rewards normalised in their group, mean over each sequence, then over sequences; the paper adds 0.04·KL (k3).

    It does not estimate $\nabla J$, nor the gradient of anything: the length and the standard deviation see to that.
    """
    return Estimator(
        "grpo", NOTHING, "c[i,t] = ρA / (N·|o_i|) unless clipped, A = (R_i − mean) / std of the group",
        "Shao et al. 2024 (2402.03300), eq. 3 and section 4.1.2",
        *token_level(normalised(ddof), ppo_clipped(1 - epsilon, 1 + epsilon), sequence_mean), coupled=True,  # (2)
    )  # fmt: skip


def dr_grpo(epsilon: float = 0.2) -> Estimator:
    """Return GRPO without its two divisions; the constant that the authors divide by instead of the length belongs to the step size."""
    return Estimator(
        "dr_grpo", "(1−1/G)·∇J (at θ = θ_old)", "c[i,t] = ρA / N unless clipped, A = R_i − mean of the group",
        "Liu et al. 2025 (2503.20783)",
        *token_level(lambda batch: mean_advantages(batch.total_rewards(), batch.groups), ppo_clipped(1 - epsilon, 1 + epsilon)),
        factor=shrunk, coupled=True,
    )  # fmt: skip


def dapo(epsilon_low: float = 0.2, epsilon_high: float = 0.28, ddof: int = 1) -> Estimator:
    """Return DAPO's mean over all tokens of the batch with a higher upper clip; dead groups stay in the mean, with 0."""
    return Estimator(
        "dapo", NOTHING, "c[i,t] = ρA / Σ|o_j| unless A > 0 and ρ > 1+ε_high or A < 0 and ρ < 1−ε_low, A as in grpo",
        "Yu et al. 2025 (2503.14476), eq. 8 and 9",
        *token_level(normalised(ddof), ppo_clipped(1 - epsilon_low, 1 + epsilon_high), token_mean), coupled=True,
    )  # fmt: skip


def reinforce_plus_plus(epsilon: float = 0.2, gamma: float = 1.0) -> Estimator:
    """Return REINFORCE++: reward-to-go, whitened over all tokens of the batch; the paper shapes the rewards by k1 (``kl_in_reward``)."""
    return Estimator(
        "reinforce++", NOTHING, "c[i,t] = ρA / Σ|o_j| unless clipped, A = (G[i,t] − mean) / std over all tokens",
        "Hu et al. 2025 (2501.03262)",
        *token_level(lambda b: whitened(to_go(b, gamma), b.mask), ppo_clipped(1 - epsilon, 1 + epsilon), token_mean), coupled=True,
    )  # fmt: skip


def cispo(epsilon_low: float = 1.0, epsilon_high: float = 0.2, ddof: int = 1) -> Estimator:
    """Return CISPO: the ratio is a clipped constant, so that no token drops out; ε_low = 1 is no lower bound, as in the paper.

    The paper tunes ε_high and does not print it.
    """
    return Estimator(
        "cispo", NOTHING, "c[i,t] = clip(ρ, 1−ε_low, 1+ε_high)·A / Σ|o_j|, A as in grpo",
        "MiniMax 2025 (2506.13585), eq. 4 and 5",
        *token_level(normalised(ddof), truncated(1 - epsilon_low, 1 + epsilon_high), token_mean), coupled=True,
    )  # fmt: skip


def gspo(epsilon_low: float = 3e-4, epsilon_high: float = 4e-4, ddof: int = 1) -> Estimator:
    """Return GSPO: one ratio a sequence, the geometric mean of its tokens'."""
    return Estimator(
        "gspo", NOTHING, "c[i,t] = s_i·A / (N·|o_i|) unless clipped, s_i = (Π_t ρ[i,t])^(1/|o_i|), A as in grpo",
        "Zheng et al. 2025 (2507.18071), eq. 5 to 7 and section 5.1",
        *sequence_level(normalised(ddof), ppo_clipped(1 - epsilon_low, 1 + epsilon_high), mean=True), coupled=True,
    )  # fmt: skip


for make in (ppo_clip, grpo, dr_grpo, dapo, reinforce_plus_plus, cispo, gspo):
    register(make())
