r"""A finite Markov decision process as a table, and everything that follows from the table without sampling.

States $s$, valid actions $a < A$ and the extra action $A$ = `invalid`; $K$ outcomes $(p_k, s'_k, r_k)$ for each pair;
start distribution $\mu$; horizon $H$. A policy $\pi$ holds the probabilities of the *valid* strings only: whatever is
missing to one is the probability of writing something else. With $\bar\pi = 1 - \sum_a \pi(a|s)$,

$$ Q_t(s,a) = \sum_k p_k (r_k + V_{t+1}(s'_k)), \quad
   V_t(s) = \sum_a \pi_t(a|s) Q_t(s,a) + \bar\pi_t(s) Q_t(s,\mathrm{invalid}), \quad V_H = 0, \quad
   J = \sum_s \mu(s) V_0(s). $$

$J$ is a polynomial in the entries of $\pi$, so every function here is holomorphic in it (complex step works).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from envs.action_index import ActionIndex
from envs.validation import check_kernel, check_policy, check_shapes

MAX_LEVELS = 16


@dataclass(frozen=True)
class Solution:
    r"""The optimum over time-dependent policies, $V_t(s) = \max_a Q_t(s,a)$ (Bellman 1957).

    Attributes
    ----------
    J : float
        $\sum_s \mu(s) V_0(s)$.
    V : ndarray of shape (H + 1, S)
    Q : ndarray of shape (H, S, A + 1)
        The last column is the action `invalid`.
    """

    J: float
    V: np.ndarray
    Q: np.ndarray

    @property
    def optimal(self) -> np.ndarray:
        """The optimal actions, bool of shape (H, S, A + 1): within 1e-12 (relative above 1) of the maximum."""
        best = self.V[:-1, :, None]
        return best - 1e-12 * np.maximum(1.0, np.abs(best)) <= self.Q

    @property
    def policy(self) -> np.ndarray:
        """The first optimal action of each state and step, as probabilities of shape (H, S, A)."""
        first = self.Q.argmax(-1)
        return (first[..., None] == np.arange(self.Q.shape[-1] - 1)).astype(float)


@dataclass(frozen=True, eq=False)
class ExactMDP:
    r"""A text environment as a table. All arrays are copied and read-only.

    Parameters
    ----------
    id : str
    state_texts : ndarray of str, shape (S,)
        One text a state, all different.
    action_texts : ndarray of str, shape (A,)
        The canonical strings; every other string is the action `invalid` with index A.
    terminal : ndarray of bool, shape (S,)
        Terminal states must absorb with reward 0.
    start : ndarray of shape (S,)
        $\mu$; no mass on terminal states.
    horizon : int
        $H \geq 1$: the episode is truncated after H steps.
    successors, probabilities, rewards : ndarray of shape (S, A + 1, K)

    Raises
    ------
    ValueError
        If the arrays do not describe such a process (the message names the array and the index).
    """

    id: str
    state_texts: np.ndarray
    action_texts: np.ndarray
    terminal: np.ndarray
    start: np.ndarray
    horizon: int
    successors: np.ndarray
    probabilities: np.ndarray
    rewards: np.ndarray

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            array: np.ndarray = np.array(getattr(self, name), dtype=dtype, order="C")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        check_shapes(self)
        check_kernel(self)

    @property
    def invalid(self) -> int:
        """The index A of the action that stands for every non-canonical string."""
        return len(self.action_texts)

    @property
    def action_numbers(self) -> dict[str, int]:
        """The index of each canonical action string (do not change it)."""
        return self.action_index.numbers

    @cached_property
    def cumulative(self) -> np.ndarray:
        """Cumulative outcome probabilities (S, A + 1, K), infinite from the last possible outcome on."""
        return _read_only(_cumulative(self.probabilities))

    @cached_property
    def levels(self) -> np.ndarray | None:
        """The different numbers in `cumulative`, ascending, the infinite one left out; None if they are more than 16.

        Which of two neighbouring levels a uniform number lies between decides every outcome.
        """
        levels = np.unique(self.cumulative[np.isfinite(self.cumulative)])
        return _read_only(levels) if len(levels) <= MAX_LEVELS else None

    @cached_property
    def _ranked(self) -> bool:
        """Whether the outcomes by rank are no more than those by number: a step then looks them up."""
        return self.levels is not None and 0 < len(self.levels) < self.successors.shape[-1]

    @cached_property
    def _flat(self) -> tuple[np.ndarray, ...]:
        """What a step reads: the place of each state's first pair (S,); K; thresholds (K - 1, S (A + 1)): `cumulative` but
        its last column; successors and rewards, flat, by pair and outcome, or by rank and pair if these are `_ranked`.
        """
        S, pairs, K = self.successors.shape
        thresholds = np.moveaxis(self.cumulative[..., :-1], -1, 0).reshape(-1, S * pairs)
        outcomes = self.successors.ravel(), self.rewards.ravel()
        if self.levels is not None and self._ranked:
            u = np.append(-1.0, self.levels)  # a number of each rank
            k = (self.cumulative.reshape(-1, 1, K) <= u[:, None]).sum(-1).T
            outcomes = tuple(table.take(np.arange(S * pairs) * K + k).ravel() for table in outcomes)
        return np.arange(S) * pairs, np.array(K), thresholds, *outcomes  # an array of one number is not converted in a step

    @cached_property
    def start_cumulative(self) -> np.ndarray:
        """Cumulative start probabilities (S,), infinite from the last possible start on."""
        return _read_only(_cumulative(self.start))

    @cached_property
    def mean_rewards(self) -> np.ndarray:
        r"""$\sum_k p_k r_k$, shape (S, A + 1)."""
        return _read_only((self.probabilities * self.rewards).sum(-1))

    @cached_property
    def action_index(self) -> ActionIndex:
        r"""Callable: N strings -> the index of each, A for every string that is not canonical.

        In a NumPy array trailing NULs cannot be told from padding; in a sequence `'up\0'` is invalid. An entry that is not
        a string raises TypeError.
        """
        return ActionIndex(self.action_texts)

    def start_states(self, u: np.ndarray) -> np.ndarray:
        r"""Return the start states of uniform numbers $u \in [0, 1)$ by inversion of $\mu$."""
        return self.start_cumulative.searchsorted(u, side="right")

    def lots(self, u: np.ndarray) -> np.ndarray:
        """Return what decides the outcomes: uniform numbers of any shape, or their ranks as offsets of the tables by rank."""
        if self.levels is None or not self._ranked:
            return u
        ranks = np.zeros(u.shape, dtype=np.int8)
        for level in self.levels:
            ranks += (level <= u).view(np.int8)  # a search of each number takes longer
        return ranks * np.intp(self.mean_rewards.size)

    def step(self, states: np.ndarray, actions: np.ndarray, lots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""Return (next states, rewards): outcome $k$ is the first whose cumulative probability exceeds $u$.

        Parameters
        ----------
        states, actions : ndarray of int, shape (N,)
        lots : ndarray of shape (N,), :meth:`lots` of numbers in [0, 1); not looked at where K = 1
        """
        first, K, thresholds, successors, rewards = self._flat
        place = first[states] + actions
        if self._ranked:
            place += lots
        elif len(thresholds):
            pair, place = place, place * K
            for threshold in thresholds:
                place += threshold[pair] <= lots
        return successors[place], rewards[place]

    def uniform(self) -> np.ndarray:
        """Return the policy (S, A) that chooses each canonical string with probability 1/A."""
        shape = len(self.state_texts), self.invalid
        return np.full(shape, 1.0 / self.invalid)

    def backup(self, V: np.ndarray) -> np.ndarray:
        r"""Return $Q(s,a) = \sum_k p_k (r_k + V(s'_k))$, shape (S, A + 1), for values $V$ of shape (S,)."""
        if self.successors.shape[-1] == 1:
            return self.mean_rewards + V[self.successors[..., 0]]
        return self.mean_rewards + (self.probabilities * V[self.successors]).sum(-1)

    def solve(self) -> Solution:
        """Return the optimum over time-dependent policies by backward induction."""
        S = len(self.state_texts)
        V, Q = np.zeros((self.horizon + 1, S)), np.empty((self.horizon, S, self.invalid + 1))
        for t in reversed(range(self.horizon)):
            Q[t] = self.backup(V[t + 1])
            V[t] = Q[t].max(-1)
        return Solution(float(self.start @ V[0]), V, Q)

    def stationary_policy(self, sweeps: int = 10_000) -> np.ndarray:
        """Return the greedy policy (S, A) of the problem without time limit, by value iteration.

        A discount of 1 - 1e-7 settles ties in favour of the sooner reward (without it "wait for ever" ties with "go").
        """
        V = np.zeros(len(self.state_texts))
        for _ in range(sweeps):
            Q = self.backup((1 - 1e-7) * V)
            V, old = Q.max(-1), V
            if (np.abs(V - old) < 1e-13).all():
                break
        return (Q.argmax(-1)[:, None] == np.arange(self.invalid)).astype(float)

    def state_values(self, policy: np.ndarray) -> np.ndarray:
        r"""Return $V_t(s)$ of a policy (S, A) or (H, S, A) as an array (H + 1, S) of the policy's dtype."""
        full = self._with_invalid(policy)
        V = np.zeros((self.horizon + 1, len(self.state_texts)), dtype=full.dtype)
        for t in reversed(range(self.horizon)):
            V[t] = (full[t] * self.backup(V[t + 1])).sum(-1)
        return V

    def value(self, policy: np.ndarray):
        r"""Return $J(\pi)$, a scalar of the policy's dtype (float64 at least).

        Raises
        ------
        ValueError
            If the shape is wrong, or the real parts of a row sum to more than one, beyond rounding.
        """
        return (self.start * self.state_values(policy)[0]).sum()

    def action_values(self, policy: np.ndarray) -> np.ndarray:
        r"""Return $Q_t(s,a)$ of a policy as an array (H, S, A + 1)."""
        V = self.state_values(policy)
        return np.stack([self.backup(V[t + 1]) for t in range(self.horizon)])

    def occupancy(self, policy: np.ndarray) -> np.ndarray:
        r"""Return $d_t(s) = P(s_t = s)$ as an array (H, S); mass that ended stays on its terminal state."""
        full = self._with_invalid(policy)
        d = np.zeros((self.horizon, len(self.state_texts)), dtype=full.dtype)
        d[0] = self.start
        for t in range(self.horizon - 1):
            flow = (d[t][:, None] * full[t])[..., None] * self.probabilities
            np.add.at(d[t + 1], self.successors.ravel(), flow.ravel())
        return d

    def gradient(self, policy: np.ndarray) -> np.ndarray:
        r"""Return $\partial J / \partial \pi$ in the policy's own shape.

        $$ \frac{\partial J}{\partial \pi_t(a|s)} = d_t(s) \left(Q_t(s,a) - Q_t(s,\mathrm{invalid})\right), $$

        since a probability given to a string is taken from `invalid`; a policy (S, A) is used at every step, so its
        gradient is the sum over $t$ (Sutton et al. 2000, the policy-gradient theorem).
        """
        Q = self.action_values(policy)
        gradient = self.occupancy(policy)[..., None] * (Q[..., :-1] - Q[..., -1:])
        return gradient.sum(0) if np.ndim(policy) == 2 else gradient

    def _with_invalid(self, policy: np.ndarray) -> np.ndarray:
        """The policy as (H, S, A + 1), the last column being what is missing to one."""
        policy = np.asarray(policy)
        H, S, A = self.horizon, len(self.state_texts), self.invalid
        if policy.shape not in ((S, A), (H, S, A)):
            raise ValueError(f"policy must have shape {(S, A)} or {(H, S, A)}, got {policy.shape}")
        dtype = np.result_type(policy.dtype, np.float32)
        policy = policy.astype(np.result_type(dtype, np.float64), copy=False)
        total = policy.sum(-1, keepdims=True)
        check_policy(policy.real, total.real, float(np.finfo(dtype).eps))
        return np.broadcast_to(np.concatenate([policy, 1 - total], axis=-1), (H, S, A + 1))


_DTYPES = {
    "state_texts": np.str_, "action_texts": np.str_, "terminal": np.bool_, "start": np.float64,
    "successors": np.intp, "probabilities": np.float64, "rewards": np.float64,
}  # fmt: skip


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _cumulative(probabilities: np.ndarray) -> np.ndarray:
    total = np.cumsum(probabilities, axis=-1)
    remaining = np.cumsum(probabilities[..., ::-1], axis=-1)[..., ::-1]
    last = np.concatenate([remaining[..., 1:] == 0, np.ones_like(remaining[..., :1], dtype=bool)], axis=-1)
    return np.where(last, np.inf, total)
