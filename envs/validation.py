"""What an ExactMDP and a policy must be: one-line errors that say which entry is wrong."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from envs.mdp import ExactMDP


def check_policy(policy: np.ndarray, total: np.ndarray, eps: float) -> None:
    """Refuse real parts of a policy that are negative or whose rows (sums: total) exceed one, beyond rounding."""
    tolerance = 1e3 * eps * policy.shape[-1] ** 0.5
    if not (total <= 1 + tolerance).all():
        where = tuple(int(i) for i in np.argwhere(~(total[..., 0] <= 1 + tolerance))[0])
        raise ValueError(f"policy row {where} sums to {total[where][0]}, more than 1")
    if (policy < -tolerance).any():
        where = tuple(int(i) for i in np.argwhere(policy < -tolerance)[0])
        raise ValueError(f"policy entry {where} is negative: {policy[where]}")


def check_shapes(mdp: "ExactMDP") -> None:
    """Refuse arrays of wrong shape and texts that are not one-to-one."""
    S, A = len(mdp.state_texts), len(mdp.action_texts)
    if mdp.horizon < 1 or A < 1:
        raise ValueError(f"{mdp.id}: needs a horizon and a number of actions >= 1, got {mdp.horizon} and {A}")
    for name in ("terminal", "start"):
        if getattr(mdp, name).shape != (S,):
            raise ValueError(f"{mdp.id}: {name} must have shape {(S,)}, got {getattr(mdp, name).shape}")
    for name in ("successors", "probabilities", "rewards"):
        array = getattr(mdp, name)
        if array.ndim != 3 or array.shape[:2] != (S, A + 1) or array.shape != mdp.successors.shape:
            raise ValueError(f"{mdp.id}: {name} must have shape ({S}, {A + 1}, K), got {array.shape}")
    for name in ("state_texts", "action_texts"):
        texts, counts = np.unique(getattr(mdp, name), return_counts=True)
        if (counts > 1).any():
            raise ValueError(f"{mdp.id}: {name} holds {str(texts[counts > 1][0])!r} more than once")


def check_kernel(mdp: "ExactMDP") -> None:
    """Refuse rows that are no distributions, successors that are no states, terminal states that do not absorb."""
    for name, p in (("start", mdp.start), ("probabilities", mdp.probabilities)):
        wrong = (np.abs(p.sum(-1) - 1) > 1e-12) | (p < 0).any(-1) | ~np.isfinite(p).all(-1)
        if wrong.any():
            raise ValueError(f"{mdp.id}: {name}{np.argwhere(wrong)[:1].tolist()} is not a distribution")
    if not ((mdp.successors >= 0) & (mdp.successors < len(mdp.state_texts))).all():
        raise ValueError(f"{mdp.id}: a successor is not a state index")
    if mdp.start[mdp.terminal].any():
        raise ValueError(f"{mdp.id}: the start distribution has mass on a terminal state")
    own = mdp.successors == np.arange(len(mdp.state_texts))[:, None, None]
    stays = (own | (mdp.probabilities == 0)).all((1, 2)) & (mdp.mean_rewards == 0).all(1)
    if not stays[mdp.terminal].all():
        state = np.flatnonzero(mdp.terminal & ~stays)[0]
        raise ValueError(f"{mdp.id}: terminal state {state} must absorb with reward 0")
