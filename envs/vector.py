"""N copies of one table in lockstep."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.core import ResetNeeded, check_options, check_states, exact
from envs.mdp import ExactMDP
from envs.rng import Streams, check_seed, seed_word

AUTORESET = ("next_step", "same_step", "disabled")


class VectorEnv:
    """N environments that share a table; row i is environment i alone, bit for bit.

    Observations are NumPy string arrays (N,) of fixed width, so `obs.view(np.uint32).reshape(N, -1)` are code points.

    Parameters
    ----------
    mdp : ExactMDP
    n : int
    seed : int >= 0 or None
    autoreset : {"next_step", "same_step", "disabled"}
        Gymnasium's modes. next_step: the step after an end ignores the action, returns the new episode's first
        observation with reward 0, and info["reset"] marks the row: it must not count in a loss. same_step: the new
        episode begins within the step that ended the old one; info["final_obs"] holds the last observation where
        info["_final_obs"], the empty text elsewhere. disabled: the caller resets, with options {"reset_mask": ...}.
    """

    def __init__(self, mdp: ExactMDP, n: int, seed: int | None = None, *, autoreset: str = "next_step"):
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ValueError(f"n must be an integer >= 1, got {n!r}")
        if autoreset not in AUTORESET:
            raise ValueError(f"autoreset must be one of {AUTORESET}, got {autoreset!r}")
        self.mdp, self.id, self.n, self.autoreset = mdp, mdp.id, int(n), autoreset
        self._states = np.full(n, -1)
        self._clock, self._end, self._soonest = 0, np.zeros(n, dtype=int), 0  # no time runs out before the clock is `_soonest`
        self._done = np.ones(n, dtype=bool)
        self._seed(seed)

    def _seed(self, seed: int | None) -> None:
        self._streams = Streams(seed_word(seed), self.n, self.mdp.lots)

    @property
    def states(self) -> np.ndarray:
        """The state indices, a new int array (N,); -1 before the first reset."""
        return self._states.copy()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin episodes and return (observations, info).

        Parameters
        ----------
        seed : None goes on with the streams; an integer begins them anew
        options : may hold "state" (n,) start states; "group" G: rows come in groups of G that share the start of their
            first row; "reset_mask" bool (n,): the rows to reset, the others stay where they are
        """
        if check_seed(seed) is not None:
            self._seed(seed)
        options = check_options(options, {"state", "group", "reset_mask"})
        mask = self._mask(options.get("reset_mask", np.ones(self.n, dtype=bool)), "reset_mask")
        if (self._states[~mask] < 0).any():
            raise ResetNeeded(f"{self.id}: the first reset must reset every row")
        starts, rows = self._starts(options), mask.nonzero()[0]
        self._streams.skip(mask)
        self._begin(rows, starts[rows])
        return self.mdp.state_texts.take(self._states), {}

    def _starts(self, options: dict) -> np.ndarray:
        if "state" in options:
            return check_states(self.mdp, options["state"], (self.n,))
        starts = self.mdp.start_states(self._streams.peek()[0])
        if "group" not in options:
            return starts
        group = options["group"]
        if isinstance(group, bool) or not isinstance(group, (int, np.integer)) or group < 1 or self.n % group:
            raise ValueError(f"group must be an integer >= 1 that divides n = {self.n}, got {group!r}")
        return np.repeat(starts[::group], group)

    def _begin(self, rows: np.ndarray, starts: np.ndarray) -> None:
        self._states[rows], self._end[rows], self._done[rows] = starts, self._clock + self.mdp.horizon, False

    def step(self, actions: Sequence[str] | np.ndarray, *, where: np.ndarray | None = None) -> tuple[Any, ...]:
        """Play one action a row and return (observations, rewards, terminated, truncated, info).

        Parameters
        ----------
        actions : n strings; those of rows that do not move are ignored
        where : bool (n,); rows that are False do not move, draw nothing and have reward 0

        Raises
        ------
        ResetNeeded
            If a row's episode has ended and is not reset by the autoreset mode.
        TypeError, ValueError
            If the actions are not n strings.
        """
        if len(actions) != self.n:
            raise ValueError(f"expected {self.n} actions, got {len(actions)}")
        indices, over, idle = self.mdp.action_index(actions), self._done, None
        if where is not None:
            where = self._mask(where, "where")
            over, idle = over & where, (~where).nonzero()[0]
        ended = over.nonzero()[0]
        if ended.size and (self.autoreset != "next_step" or self._states[ended[0]] < 0):
            raise ResetNeeded(f"{self.id}: row {ended[0]} has no episode under way; reset it first")
        u, lots = self._streams.peek()
        self._streams.skip(where)
        rewards, terminated, truncated = self._move(indices, u, lots, ended, idle)
        info: dict[str, np.ndarray] = {}
        if self.autoreset == "next_step":
            info["reset"] = over
        elif self.autoreset == "same_step":
            info = self._begin_at_once(terminated | truncated)
        return self.mdp.state_texts.take(self._states), rewards, terminated, truncated, info

    def _move(
        self, actions: np.ndarray, u: np.ndarray, lots: np.ndarray, ended: np.ndarray, idle: np.ndarray | None
    ) -> tuple[np.ndarray, ...]:
        """Play one step, but begin an episode in the rows `ended` and do nothing in the rows `idle`."""
        states, rewards = self.mdp.step(self._states, actions, lots)
        self._clock += 1
        if ended.size:
            states[ended] = self.mdp.start_states(u[ended])
            rewards[ended], self._end[ended] = 0.0, self._clock + self.mdp.horizon
        if idle is not None:
            states[idle], rewards[idle] = self._states[idle], 0.0
            self._end[idle] += 1
        terminated = self.mdp.terminal[states]
        if self._clock < self._soonest:
            truncated, done = np.zeros(self.n, dtype=bool), terminated.copy()
        else:
            truncated = (self._end <= self._clock) > terminated
            done, self._soonest = terminated | truncated, int(self._end.min())
        if idle is not None:
            done[idle], terminated[idle], truncated[idle] = self._done[idle], False, False
        self._states, self._done = states, done
        return rewards, terminated, truncated

    def _begin_at_once(self, ended: np.ndarray) -> dict[str, np.ndarray]:
        rows = ended.nonzero()[0]
        final = np.where(ended, self.mdp.state_texts.take(self._states), "")
        u, _ = self._streams.peek()
        self._streams.skip(ended)
        self._begin(rows, self.mdp.start_states(u[rows]))
        return {"_final_obs": ended, "final_obs": final}

    def _mask(self, mask: Any, name: str) -> np.ndarray:
        mask = np.asarray(mask)
        if mask.shape != (self.n,) or mask.dtype != bool:
            raise ValueError(f"{name} must be bool of shape ({self.n},), got {mask.dtype} {mask.shape}")
        return mask

    def render(self) -> str:
        """Return the current states' texts, rows divided by an empty line; changes nothing."""
        if (self._states < 0).any():
            raise ResetNeeded(f"{self.id}: no episode is under way; call reset() first")
        return "\n\n".join(self.mdp.state_texts.take(self._states).tolist())

    def close(self) -> None:
        """Do nothing; there is nothing to release."""


def make_vector(id: str, n: int, seed: int | None = None, *, autoreset: str = "next_step", **options: Any) -> VectorEnv:
    """Return N copies of an environment in lockstep (see VectorEnv); options as in `envs.make`."""
    return VectorEnv(exact(id, **options), n, seed, autoreset=autoreset)
