r"""REINFORCE and its baselines: coefficients that do not depend on the current log-probabilities.

**REINFORCE.** $J = \sum_b p(b)\,R(b)$, and $\nabla p = p\,\nabla\log p$, so $\nabla J = E[R\,\nabla\log p(b)]$ for b drawn from p. With
$\log p(b) = \sum_t\ell_t$ the mean over N episodes has the coefficients

$$c_{it} = R_i/N \tag{1}$$

**A baseline** $b_i$ may be subtracted, $c_{it} = (R_i-b_i)/N$, if it does not depend on episode i: $E[\nabla\log p] = \sum_b\nabla p =
\nabla 1 = 0$, so $E[b_i\,\nabla\log p(b_i)] = E[b_i]\cdot 0$. A number that is known before sampling is one.

**Leave-one-out** (REINFORCE-LOO, RLOO) takes the mean reward of the *other* episodes of the group, which are drawn independently:

$$c_{it} = \frac1N\Big(R_i - \frac1{G-1}\sum_{j\ne i}R_j\Big) \tag{2}$$

It estimates $\nabla J$ itself, without bias, for every group size $G \ge 2$: no factor, no other objective.

**The mean of the group** has the own reward in it with weight $1/G$. Since $R_i - \bar R = (1-\frac1G)(R_i - \text{mean of the others})$,

$$c_{it} = \frac1N\,(R_i - \bar R) \tag{3}$$

estimates $(1-\frac1G)\,\nabla J$: the direction is right, the length is not.

**Reward-to-go.** A reward $r_s$ that came before token t is fixed when t is drawn, so $E[r_s\,\nabla\ell_t] = 0$ and it may be left out:

$$c_{it} = \frac1N\sum_{s\ge t}\gamma^{s-t}\,r_{is}, \qquad \gamma = 1 \tag{4}$$

Neither it nor a baseline need lower the variance: ``minillm estimators`` prints what each has on a bed of 15 episodes.

**Over a set** of distinct actions nothing is sampled, and the probability stands in the coefficient (``expected_reward``):

$$c_{it} = R_i\,p(b_i) \tag{5}$$
"""

from __future__ import annotations

import numpy as np

from minillm.estimators.advantages import optimal_baseline_advantages, to_go
from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator, register
from minillm.estimators.forms import constant
from minillm.returns import leave_one_out_advantages, mean_advantages


def unbiased(G: int) -> float:
    """Return 1: the expectation is ∇J, whatever the size of the group."""
    return 1.0


def shrunk(G: int) -> float:
    """Return 1 − 1/G: the own reward is in the baseline with weight 1/G."""
    return 1 - 1 / G


def reinforce() -> Estimator:
    """Return REINFORCE with the total return and no baseline."""
    return Estimator(
        "reinforce", "∇J", "c[i,t] = R_i / N", "Williams 1992, eq. 11", *constant(Batch.total_rewards), factor=unbiased,  # (1)
    )  # fmt: skip


def reward_to_go(gamma: float = 1.0) -> Estimator:
    r"""Return REINFORCE with $\sum_{s\ge t}\gamma^{s-t}r_s$; with γ < 1 it has no objective (the factor $\gamma^t$ is left out)."""
    return Estimator(
        "reward_to_go", "∇J" if gamma == 1 else "no gradient of any function", "c[i,t] = Σ_{s≥t} γ^(s−t) r[i,s] / N",
        "Williams 1992; Sutton et al. 2000, theorem 1; γ < 1: Nota & Thomas 2020", *constant(lambda batch: to_go(batch, gamma)),  # (4)
        factor=unbiased if gamma == 1 else None,
    )  # fmt: skip


def constant_baseline(b: float = 0.5) -> Estimator:
    """Return REINFORCE with the baseline b, a number that is known before sampling; ½ is the middle of rewards in [0, 1]."""
    return Estimator(
        "constant_baseline", "∇J", "c[i,t] = (R_i − b) / N", "Williams 1992, eq. 11",
        *constant(lambda batch: batch.total_rewards() - b), factor=unbiased,
    )  # fmt: skip


def mean_baseline() -> Estimator:
    r"""Return REINFORCE minus the group's mean, the own reward in it.

    $R_i - \bar R = (1-1/G)\,(R_i - \text{mean of the others})$ identically, hence the factor; a group of one has 0.
    """
    return Estimator(
        "mean_baseline", "(1−1/G)·∇J", "c[i,t] = (R_i − mean of the group's R) / N", "Liu et al. 2025 (2503.20783)",
        *constant(lambda batch: mean_advantages(batch.total_rewards(), batch.groups)), factor=shrunk, coupled=True,  # (3)
    )  # fmt: skip


def rloo() -> Estimator:
    r"""Return REINFORCE minus the mean of the group's others: REINFORCE-LOO. It estimates $\nabla J$, exactly, for every G ≥ 2."""
    return Estimator(
        "rloo", "∇J", "c[i,t] = (R_i − mean of the group's other R) / N", "Kool et al. 2019, eq. 8; Ahmadian et al. 2024, eq. 7",
        *constant(lambda batch: leave_one_out_advantages(batch.total_rewards(), batch.groups)), factor=unbiased, coupled=True,  # (2)
    )  # fmt: skip


def optimal_baseline() -> Estimator:
    r"""Return REINFORCE minus the group's estimate of $b^* = E[R\|s\|^2]/E\|s\|^2$, the own sample in it: biased, at order 1/G."""
    return Estimator(
        "optimal_baseline", "∇J − E[b̂·∇log p], of order 1/G", "c[i,t] = (R_i − Σ_j R_j‖s_j‖² / Σ_j‖s_j‖²) / N",
        "Weaver & Tao 2001; Greensmith, Bartlett & Baxter 2004", *constant(lambda batch: optimal_baseline_advantages(batch, False)),
        coupled=True, needs=("score_norms",),
    )  # fmt: skip


def optimal_baseline_loo() -> Estimator:
    r"""Return REINFORCE minus the estimate of $b^*$ from the group's others."""
    return Estimator(
        "optimal_baseline_loo", "∇J", "c[i,t] = (R_i − Σ_{j≠i} R_j‖s_j‖² / Σ_{j≠i}‖s_j‖²) / N",
        "Weaver & Tao 2001; Greensmith, Bartlett & Baxter 2004", *constant(lambda batch: optimal_baseline_advantages(batch, True)),
        factor=unbiased, coupled=True, needs=("score_norms",),
    )  # fmt: skip


def expected_reward() -> Estimator:
    r"""Return the exact gradient over a *set* of distinct actions: $F = \sum_i R_i\,p(b_i)$, not divided by N.

    On sampled actions the probability is there twice: $E[R\,p\,\nabla\log p] = \nabla\sum_b\frac12R\,p(b)^2$.
    """

    def p(batch: Batch) -> np.ndarray:
        return np.exp(batch.episode_sums(batch.log_probs))

    return Estimator(
        "expected_reward", "∇J over a set of distinct actions; over samples ∇Σ½R·p²", "c[i,t] = R_i·p(b_i)",
        "minillm.objectives.expected_reward",
        lambda batch: np.where(batch.mask, (batch.total_rewards() * p(batch))[:, None], 0),  # (5)
        lambda batch: (batch.total_rewards() * p(batch)).sum(),
    )  # fmt: skip


for make in (
    expected_reward, reinforce, reward_to_go, constant_baseline, mean_baseline, rloo, optimal_baseline, optimal_baseline_loo,
):  # fmt: skip
    register(make())
