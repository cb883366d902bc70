r"""ExactMDP: an environment as a table. Stepping, the optimum, exact J and exact ∇J are all derived from it.

States s, valid actions a (canonical strings) and one more, ``invalid``, which stands for every other string. Action a in s has
K outcomes: with chance ``probabilities[s, a, k]`` the next state is ``successors[s, a, k]`` and ``rewards[s, a, k]`` is paid. Episodes
start from $\mu$ = ``start`` and end in a terminal state, or after H = ``horizon`` steps. With the policy π(a|s) over valid strings and
$\pi(\text{invalid}\mid s) = 1-\sum_a\pi(a\mid s)$,

$$V_H = 0, \qquad Q_t(s,a) = \sum_k p_k\,\big(r_k + V_{t+1}(s'_k)\big), \qquad V_t(s) = \sum_a \pi_t(a\mid s)\,Q_t(s,a), \qquad J = \sum_s \mu_s V_0(s),$$

and with the occupancy $d_t(s) = P(S_t = s)$ (policy-gradient theorem, Sutton et al. 2000, theorem 1, finite horizon)

$$\frac{\partial J}{\partial \pi(a\mid s)} = \sum_t d_t(s)\,\big(Q_t(s,a) - Q_t(s,\text{invalid})\big).$$
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy import sparse

from envs.errors import EnvError


@dataclasses.dataclass(frozen=True)
class Solution:
    """The optimum: ``J``, ``V`` (H + 1, S), ``Q`` (H, S, A + 1), and ``optimal`` (H, S, A + 1), the mask of best actions."""

    J: float
    V: np.ndarray
    Q: np.ndarray
    optimal: np.ndarray


@dataclasses.dataclass(frozen=True)
class ExactMDP:
    """A finite-horizon environment as a table; the arrays are read-only.

    Parameters
    ----------
    id : str
    state_texts : str array of shape (S,)
    action_texts : str array of shape (A,)
        The canonical strings; everything else is the outcome ``invalid``, number A.
    successors : int array of shape (S, A + 1, K)
    probabilities, rewards : float64 arrays of shape (S, A + 1, K)
    terminal : bool array of shape (S,)
        Terminal states absorb with reward 0.
    start : float64 array of shape (S,)
    horizon : int
    """

    id: str
    state_texts: np.ndarray
    action_texts: np.ndarray
    successors: np.ndarray
    probabilities: np.ndarray
    rewards: np.ndarray
    terminal: np.ndarray
    start: np.ndarray
    horizon: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
        outcomes = (len(self.state_texts), len(self.action_texts) + 1)
        for name in ("successors", "probabilities", "rewards"):
            if getattr(self, name).shape[:2] != outcomes:
                raise EnvError(f"{self.id}: {name} must have shape {outcomes} + (K,), got {getattr(self, name).shape}")

    @property
    def invalid(self) -> int:
        """Number of the outcome that stands for every string that is not an action."""
        return len(self.action_texts)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {str(text): i for i, text in enumerate(self.action_texts)}

    def action_index(self, texts: Sequence[str]) -> np.ndarray:
        """Return the number of each action text, ``invalid`` for what is not one.

        Raises
        ------
        TypeError
            If an entry is not a str; the message names its position.
        """
        texts = texts.tolist() if isinstance(texts, np.ndarray) else texts
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"action {i} must be a str, got {type(text).__name__}")
        return np.array([self._index.get(text, self.invalid) for text in texts], dtype=np.int64)

    @cached_property
    def cumulative(self) -> np.ndarray:
        """Cumulative chances (S, A + 1, K) of the outcomes, the last with a positive chance being infinite."""
        total = self.probabilities.cumsum(axis=-1)
        last = self.probabilities.shape[-1] - 1 - (self.probabilities[..., ::-1] > 0).argmax(axis=-1)
        total[np.arange(total.shape[-1]) >= last[..., None]] = np.inf
        return total

    def step(self, states: np.ndarray, actions: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return next states and rewards (N,): the outcome is the first whose cumulative chance exceeds u."""
        k = (self.cumulative[states, actions] <= u[:, None]).sum(axis=-1)
        return self.successors[states, actions, k], self.rewards[states, actions, k]

    @cached_property
    def cumulative_start(self) -> np.ndarray:
        """Cumulative chances (S,) of the start, the last start with a positive chance being infinite."""
        total = self.start.cumsum()
        total[np.flatnonzero(self.start)[-1] :] = np.inf
        return total

    def draw_start(self, u: np.ndarray) -> np.ndarray:
        """Return start states (N,) drawn from μ by u in [0, 1)."""
        return np.searchsorted(self.cumulative_start, u, side="right")

    @cached_property
    def kernel(self) -> sparse.csr_array:
        """P as a sparse matrix (S·(A + 1), S)."""
        S, columns, K = self.successors.shape
        rows = np.repeat(np.arange(S * columns), K)
        entries = (self.probabilities.reshape(-1), (rows, self.successors.reshape(-1)))
        return sparse.coo_array(entries, shape=(S * columns, S)).tocsr()

    @cached_property
    def expected_rewards(self) -> np.ndarray:
        """Expected reward (S, A + 1) of each action."""
        return (self.probabilities * self.rewards).sum(axis=-1)

    def _backup(self, V: np.ndarray) -> np.ndarray:
        """Q (S, A + 1) of one step followed by V (S,)."""
        return self.expected_rewards + (self.kernel @ V).reshape(self.expected_rewards.shape)

    def solve(self) -> Solution:
        """Return the optimum over all, also time-dependent, policies, by backward induction."""
        S, columns = self.expected_rewards.shape
        V, Q = np.zeros((self.horizon + 1, S)), np.zeros((self.horizon, S, columns))
        for t in reversed(range(self.horizon)):
            Q[t] = self._backup(V[t + 1])
            V[t] = Q[t].max(axis=-1)
        optimal = Q >= V[:-1, :, None] - 1e-12 * max(1.0, float(np.ptp(Q)))
        return Solution(float(self.start @ V[0]), V, Q, optimal)

    def uniform(self) -> np.ndarray:
        """Return the policy (S, A) that gives every valid action the chance 1/A."""
        return np.full((len(self.state_texts), self.invalid), 1 / self.invalid)

    def action_values(self, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Q (H, S, A + 1) and V (H + 1, S) of a policy of shape (S, A) or (H, S, A), in its dtype."""
        policy = self._with_invalid(policy)
        S, columns = self.expected_rewards.shape
        V, Q = np.zeros((self.horizon + 1, S), policy.dtype), np.zeros((self.horizon, S, columns), policy.dtype)
        for t in reversed(range(self.horizon)):
            Q[t] = self._backup(V[t + 1])
            V[t] = (policy[t] * Q[t]).sum(axis=-1)
        return Q, V

    def state_values(self, policy: np.ndarray) -> np.ndarray:
        """Return V (H + 1, S): the expected sum of rewards from each state and time on."""
        return self.action_values(policy)[1]

    def value(self, policy: np.ndarray) -> np.generic:
        r"""Return $J = \sum_s\mu_s V_0(s)$ of a policy (S, A) or (H, S, A), in its dtype (complex too)."""
        return (self.start * self.state_values(policy)[0]).sum()

    def occupancy(self, policy: np.ndarray) -> np.ndarray:
        r"""Return $d_t(s) = P(S_t = s)$, shape (H, S); a terminal state counts as long as the horizon runs."""
        policy = self._with_invalid(policy)
        d = np.zeros((self.horizon, len(self.start)), policy.dtype)
        d[0] = self.start
        for t in range(1, self.horizon):
            d[t] = self.kernel.T @ (d[t - 1, :, None] * policy[t - 1]).reshape(-1)
        return d

    def gradient(self, policy: np.ndarray) -> np.ndarray:
        r"""Return $\partial J/\partial\pi(a\mid s)$, shape (S, A), of a policy (S, A); the invalid outcome takes what is left."""
        Q, _ = self.action_values(policy)
        d = self.occupancy(policy)
        return np.einsum("ts,tsa->sa", d, Q[..., :-1] - Q[..., -1:])

    def _with_invalid(self, policy: np.ndarray) -> np.ndarray:
        """Check a policy and return it as (H, S, A + 1)."""
        S, A = len(self.state_texts), self.invalid
        if policy.shape not in ((S, A), (self.horizon, S, A)):
            raise EnvError(f"{self.id}: a policy has shape {(S, A)} or {(self.horizon, S, A)}, got {policy.shape}")
        rest = 1 - policy.sum(axis=-1, keepdims=True)
        if policy.real.min() < 0 or rest.real.min() < -1e-5:
            where = np.unravel_index(int(rest.real.argmin()), rest.shape[:-1])
            raise EnvError(f"{self.id}: the chances in row {tuple(int(i) for i in where)} are negative or sum to more than 1")
        full = np.concatenate([policy, rest], axis=-1)
        return np.broadcast_to(full, (self.horizon, S, A + 1))
