r"""A setting: a bed, a policy at θ, and a second and a third policy; everything in it that is exact.

The policy is known by its log-probabilities $\log\pi(v\mid k)$, a table (K, V), and by their scores
$S_{kv} = \nabla_\theta\log\pi(v\mid k)$, a matrix (K·V, P) that is computed once. An estimate
$\hat g = \sum_{it} c_{it}\,\nabla\ell_{it}$ is then $W S$ with the coefficients summed into a row W of length K·V, and
$\|\hat g\|^2 = W\,(S S^\top)\,W^\top$ whatever the number of parameters. All of it is complex-safe in θ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from minillm.estimators import Batch
from minillm.lab import beds
from minillm.lab.beds import Bed
from minillm.lab.differentiate import complex_gradient
from minillm.lab.gate_cases import small_model
from minillm.ops import log_softmax
from minillm.transformer import GPT

Policy = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    r"""A bed at one point θ.

    Attributes
    ----------
    name : str
    bed : Bed
    policy : callable, θ (P,) → logits (K, V) and their Jacobian (K·V, P)
    theta, old_theta, ref_theta : ndarray of shape (P,)
        The policy, an older one, and the reference.
    off_policy : bool
        Whether the episodes come from the older policy; from the policy itself otherwise.
    """

    name: str
    bed: Bed
    policy: Policy
    theta: np.ndarray
    old_theta: np.ndarray
    ref_theta: np.ndarray
    off_policy: bool = False

    def at(self, theta: np.ndarray) -> Setting:
        """Return the same setting at another θ; the two other policies stay."""
        return dataclasses.replace(self, theta=theta)

    def sampled_from_old(self) -> Setting:
        """Return the same setting with episodes of the older policy."""
        return dataclasses.replace(self, off_policy=True)

    @cached_property
    def at_theta(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits (K, V) and their Jacobian (K·V, P)."""
        return self.policy(self.theta)

    @cached_property
    def log_pi(self) -> np.ndarray:
        r"""$\log\pi_\theta(v\mid k)$, (K, V)."""
        return log_softmax(self.at_theta[0])[0]

    @cached_property
    def log_old(self) -> np.ndarray:
        """The table of the policy that sampled."""
        return log_softmax(self.policy(self.old_theta)[0])[0]

    @cached_property
    def log_ref(self) -> np.ndarray:
        """The table of the reference policy."""
        return log_softmax(self.policy(self.ref_theta)[0])[0]

    @cached_property
    def scores(self) -> np.ndarray:
        r"""$S_{kv} = \nabla\log\pi(v\mid k) = \sum_w ([v=w] - \pi_w)\,\nabla z_{kw}$, (K·V, P)."""
        K, V = self.log_pi.shape
        jacobian = self.at_theta[1].reshape(K, V, -1)
        mean = np.einsum("kv,kvp->kp", np.exp(self.log_pi), jacobian)
        return (jacobian - mean[:, None]).reshape(K * V, -1)

    @cached_property
    def gram(self) -> np.ndarray:
        r"""$S S^\top$, (K·V, K·V)."""
        return self.scores @ self.scores.T

    def probabilities(self, log_pi: np.ndarray) -> np.ndarray:
        r"""Return $p_i = \kappa_i\prod_t\pi(b_{it}\mid k_{it})$ of all episodes (E,), for a table (K, V)."""
        return self.bed.chance * np.exp(np.where(self.bed.mask, log_pi.reshape(-1)[self.bed.flat], 0).sum(axis=1))

    @cached_property
    def p(self) -> np.ndarray:
        r"""$p_i(\theta)$, (E,)."""
        return self.probabilities(self.log_pi)

    @cached_property
    def drawn(self) -> np.ndarray:
        """Probabilities (E,) under the policy that samples."""
        return self.probabilities(self.log_old) if self.off_policy else self.p

    @cached_property
    def J(self) -> Any:
        r"""$\sum_i p_i R_i$."""
        return (self.p * self.bed.returns).sum()

    @cached_property
    def gradient(self) -> np.ndarray:
        r"""$\nabla J = \sum_i p_i R_i\,\nabla\log p_i$, (P,)."""
        return self.spread((self.p * self.bed.returns)[:, None] * self.bed.mask).sum(axis=0) @ self.scores

    def spread(self, coefficients: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Sum coefficients (M, T) of the tokens taken, or (M, T, V) of all tokens, of episodes ``rows`` into (M, K·V)."""
        bed = self.bed
        rows = np.arange(len(bed.chance)) if rows is None else rows
        W = np.zeros((len(rows), *self.log_pi.shape), np.result_type(coefficients, np.float64))
        m = np.arange(len(rows))[:, None]
        if coefficients.ndim == 3:
            np.add.at(W, (m, np.maximum(bed.context[rows], 0)), coefficients)
            return W.reshape(len(rows), -1)
        W = W.reshape(len(rows), -1)
        np.add.at(W, (m, bed.flat[rows]), coefficients)
        return W

    def gradient_of(self, objective: Callable[[np.ndarray], Any]) -> np.ndarray:
        """Return ∇ (P,) of a function of the table log π (K, V), by complex step through the logits."""
        logits, jacobian = self.at_theta
        return complex_gradient(lambda z: objective(log_softmax(z)[0]), logits).reshape(-1) @ jacobian

    @cached_property
    def whole(self) -> Batch:
        """All E episodes as one batch, every optional field exact; ``values`` and ``q`` are those of the policy that samples."""
        bed, L = self.bed, self.log_pi
        values, q = self._values()
        log_probs, old, ref = (self._taken(table) for table in (L, self.log_old if self.off_policy else L, self.log_ref))
        episode_scores = self.spread(bed.mask.astype(L.dtype)) @ self.scores
        full, full_ref = (np.where(bed.mask[..., None], table[bed.context], beds.ELSEWHERE) for table in (L, self.log_ref))
        return Batch(
            log_probs, bed.mask, bed.rewards, bed.start, bed.turns, old_log_probs=old, ref_log_probs=ref, values=values,
            last_values=np.zeros(len(bed.chance)), full_log_probs=full, full_ref_log_probs=full_ref, q=q,
            score_norms=(episode_scores * episode_scores).sum(axis=1),
        )  # fmt: skip

    def _taken(self, table: np.ndarray) -> np.ndarray:
        return np.where(self.bed.mask, table.reshape(-1)[self.bed.flat], beds.ELSEWHERE)

    def _values(self) -> tuple[np.ndarray, np.ndarray]:
        r"""$V$ (E, T) and $Q$ (E, T, V): the mean reward to go over the episodes that share a history, and a history and a token."""
        bed, V = self.bed, self.bed.vocab_size
        nodes, tokens = bed.nodes[bed.mask], bed.tokens[bed.mask]
        weight = np.broadcast_to(self.drawn[:, None], bed.mask.shape)[bed.mask]
        sums = np.zeros((2, int(bed.nodes.max()) + 1, V), weight.dtype)
        np.add.at(sums[0], (nodes, tokens), weight)
        np.add.at(sums[1], (nodes, tokens), weight * bed.rewards_to_go[bed.mask])
        q, values = np.full((*bed.mask.shape, V), beds.ELSEWHERE, weight.dtype), np.full(bed.mask.shape, beds.ELSEWHERE, weight.dtype)
        q[bed.mask] = (sums[1, nodes] / sums[0, nodes])
        values[bed.mask] = sums[1, nodes].sum(axis=1) / sums[0, nodes].sum(axis=1)
        return values, q

    def batch(self, rows: np.ndarray, needs: tuple[str, ...] = ()) -> Batch:
        """Return episodes as a batch; of the optional fields ``old_log_probs`` and those that ``needs`` names."""
        whole = self.whole
        fields = {"log_probs", "mask", "rewards", "groups", "turns", "old_log_probs", *needs}
        return Batch(**{name: getattr(whole, name)[rows] for name in fields})


def tabular(bed: Bed) -> Policy:
    """Return the policy whose logits are θ itself, a row for each context."""
    K, V = len(bed.contexts), bed.vocab_size
    return lambda theta: (theta.reshape(K, V), np.eye(K * V))


def transformer(bed: Bed, seed: int) -> tuple[Policy, np.ndarray]:
    """Return a small GPT that reads the contexts, as a function of all its parameters, and its θ."""
    lengths = np.array([len(context) for context in bed.contexts])
    model = small_model(bed.vocab_size, int(lengths.max()), seed)
    ids = np.array([context + (0,) * (int(lengths.max()) - len(context)) for context in bed.contexts])
    at = lengths[:, None] - 1

    def policy(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        model_at = GPT.from_vector(model.config, theta)
        logits, cache = model_at.forward(ids, at=at)
        unit = np.eye(logits.size, dtype=theta.dtype).reshape(-1, *logits.shape)
        return logits[:, 0], np.stack([model_at.backward(row, cache) for row in unit])

    return policy, model.parameters.vector


def settings() -> list[Setting]:
    """Return the three beds, each with a tabular policy and with a transformer."""
    (text, logits), walk, (talk, _) = beds.published(), beds.token_walk(), beds.dialogue()
    rng = np.random.default_rng(3)
    made = []
    for bed in (text, walk, talk):
        theta = logits.reshape(-1) if bed is text else rng.normal(size=len(bed.contexts) * bed.vocab_size)
        for name, (policy, point) in {"table": (tabular(bed), theta), "GPT": transformer(bed, seed=4)}.items():
            old, ref = point + rng.normal(0, 0.3, size=(2, point.size))
            made.append(Setting(f"{bed.name}, {name}", bed, policy, point, old, ref))
    return made
