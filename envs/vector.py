"""N copies of an environment in lockstep: a handful of gathers a step.

Observations are NumPy string arrays of dtype ``<U w``; viewed as ``uint32`` such an array *is* the (N, w) array of code points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs import rng
from envs.core import check_options, check_states, exact
from envs.errors import EnvError, ResetNeeded
from envs.mdp import ExactMDP

AUTORESET = ("next_step", "same_step", "disabled")


class VectorEnv:
    """N environments of one kind; row i equals environment i alone, bit for bit.

    Parameters
    ----------
    mdp : ExactMDP
    n : int
    seed : int, optional
    autoreset : {"next_step", "same_step", "disabled"}
        What follows an end, in Gymnasium's meaning. ``"next_step"``: the next action of that row is ignored and the call returns
        the reset observation with reward 0 (such a row must not count in a loss). ``"same_step"``: the reset happens at once, and
        ``info["final_obs"]`` holds the last observation. ``"disabled"``: stepping the row raises until
        ``reset(options={"reset_mask": mask})``.
    """

    def __init__(self, mdp: ExactMDP, n: int, seed: int | None = None, autoreset: str = "next_step") -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise EnvError(f"n must be an integer of at least 1, got {n!r}")
        if autoreset not in AUTORESET:
            raise EnvError(f"autoreset must be one of {', '.join(AUTORESET)}, got {autoreset!r}")
        self.mdp, self.id, self.n, self.autoreset = mdp, mdp.id, n, autoreset
        self._keys = rng.keys(seed, np.arange(n))
        self._draws = np.zeros(n, np.uint64)
        self._states, self._steps = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._over = np.ones(n, dtype=bool)
        self._started = False

    @property
    def states(self) -> np.ndarray:
        """State numbers (N,), a copy."""
        return self._states.copy()

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start episodes and return ``(observations, info)``.

        Parameters
        ----------
        seed : int, optional
            Start all streams of random numbers anew.
        options : mapping, optional
            ``{"state": (N,)}`` starts in these states; ``{"group": G}``: rows come in groups of G that share the start of their
            first row; ``{"reset_mask": bool (N,)}`` resets these rows only.
        """
        options = check_options(options, ("state", "group", "reset_mask"))
        if seed is not None:
            self._keys, self._draws = rng.keys(seed, np.arange(self.n)), np.zeros(self.n, np.uint64)
        mask = self._mask(options.get("reset_mask"), "reset_mask")
        drawn = self._draw_starts(mask)
        group = options.get("group", 1)
        if isinstance(group, bool) or not isinstance(group, int) or group < 1 or self.n % group:
            raise EnvError(f"group must be a divisor of n = {self.n}, got {group!r}")
        drawn = np.repeat(drawn[::group], group)
        if options.get("state") is not None:
            drawn = np.broadcast_to(check_states(self.mdp, np.asarray(options["state"])), (self.n,))
        self._begin(mask, drawn)
        self._started = True
        return self.mdp.state_texts[self._states], {}

    def step(
        self, actions: Sequence[str] | np.ndarray, *, where: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one action a row and return ``(observations, rewards, terminated, truncated, info)``, each (N,).

        Parameters
        ----------
        actions : N strings
        where : bool array of shape (N,), optional
            Rows that are False do not move, draw nothing, and have reward 0 and no end.

        Raises
        ------
        TypeError
            If an action is not a str.
        ResetNeeded
            Before the first reset; with ``autoreset="disabled"``, also when a row that has ended is stepped.
        """
        if len(actions) != self.n:
            raise EnvError(f"{self.n} environments need {self.n} actions, got {len(actions)}")
        index = self.mdp.action_index(actions)
        where = self._mask(where, "where")
        if not self._started or (self.autoreset == "disabled" and (self._over & where).any()):
            row = int(np.argmax(self._over & where))
            raise ResetNeeded(f"{self.id}: the episode of row {row} is over or was never started; call reset()")
        reborn, moving = where & self._over, where & ~self._over
        rewards = self._move(moving, index)
        terminated = moving & self.mdp.terminal[self._states]
        truncated = moving & ~terminated & (self._steps >= self.mdp.horizon)
        if reborn.any():
            self._begin(reborn, self._draw_starts(reborn))
        ended = terminated | truncated
        self._over |= ended
        info: dict[str, Any] = {"invalid": moving & (index == self.mdp.invalid)}
        if self.autoreset == "same_step" and ended.any():
            info["final_obs"] = np.where(ended, self.mdp.state_texts[self._states], "")
            self._begin(ended, self._draw_starts(ended))
        return self.mdp.state_texts[self._states], rewards, terminated, truncated, info

    def close(self) -> None:
        """Nothing to release; here for Gymnasium's convention."""

    def _move(self, moving: np.ndarray, index: np.ndarray) -> np.ndarray:
        states, rewards = self.mdp.step(self._states, index, self._uniform(moving))
        self._states = np.where(moving, states, self._states)
        self._steps += moving
        return np.where(moving, rewards, 0.0)

    def _begin(self, mask: np.ndarray, states: np.ndarray) -> None:
        self._states = np.where(mask, states, self._states)
        self._steps[mask], self._over[mask] = 0, False

    def _draw_starts(self, mask: np.ndarray) -> np.ndarray:
        return self.mdp.draw_start(self._uniform(mask))

    def _uniform(self, mask: np.ndarray) -> np.ndarray:
        u = rng.uniform_array(self._keys, self._draws)
        self._draws = self._draws + mask.astype(np.uint64)
        return u

    def _mask(self, mask: np.ndarray | None, name: str) -> np.ndarray:
        if mask is None:
            return np.ones(self.n, dtype=bool)
        if np.shape(mask) != (self.n,) or np.asarray(mask).dtype != bool:
            raise EnvError(f"{name} must be a bool array of shape ({self.n},), got {mask!r:.60}")
        return np.array(mask)


def make_vector(id: str, n: int, seed: int | None = None, autoreset: str = "next_step") -> VectorEnv:
    """Return N environments; see :class:`VectorEnv` for the parameters and :func:`envs.exact` for the errors."""
    return VectorEnv(exact(id), n, seed, autoreset)
