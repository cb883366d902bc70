"""Environments without a table, many at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.core import ResetNeeded, check_options


class Lockstep:
    """N environments stepped one after the other, in the form of `VectorEnv` with autoreset "disabled".

    Parameters
    ----------
    envs : N environments with reset and step
    seed : int >= 0 or None (fresh entropy); each reset seeds each environment anew from it
    """

    def __init__(self, envs: Sequence[Any], seed: int | None = None):
        self.envs, self.n, self._rng = list(envs), len(envs), np.random.default_rng(seed)
        self._texts, self._done = np.full(self.n, ""), np.ones(self.n, dtype=bool)

    def reset(self, *, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin episodes and return (observations, info); the option "group" G lets rows share a seed in groups of G."""
        group = check_options(options, {"group"}).get("group", 1)
        if isinstance(group, bool) or not isinstance(group, (int, np.integer)) or group < 1 or self.n % group:
            raise ValueError(f"group must be an integer >= 1 that divides n = {self.n}, got {group!r}")
        seeds = np.repeat(self._rng.integers(1 << 31, size=self.n // group), group).tolist()
        self._texts = np.array([env.reset(seed=seed)[0] for env, seed in zip(self.envs, seeds, strict=True)], dtype=np.str_)
        self._done = np.zeros(self.n, dtype=bool)
        return self._texts.copy(), {}

    def step(self, actions: Sequence[str], *, where: np.ndarray | None = None) -> tuple[Any, ...]:
        """Play one action a row and return (observations, rewards, terminated, truncated, info), as `VectorEnv.step`."""
        if len(actions) != self.n:
            raise ValueError(f"expected {self.n} actions, got {len(actions)}")
        rows = np.arange(self.n) if where is None else np.flatnonzero(where)
        if self._done[rows].any():
            raise ResetNeeded(f"row {rows[self._done[rows].argmax()]} has no episode under way; reset it first")
        texts, rewards = self._texts.tolist(), np.zeros(self.n)
        terminated, truncated = np.zeros((2, self.n), dtype=bool)
        for i in rows.tolist():
            texts[i], rewards[i], terminated[i], truncated[i], _ = self.envs[i].step(actions[i])
        self._texts, self._done = np.array(texts, dtype=np.str_), self._done | terminated | truncated
        return self._texts.copy(), rewards, terminated, truncated, {}
