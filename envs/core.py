"""One text environment in Gymnasium's calling convention, the loop that a reader knows, and the registry of ids."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from envs import rng
from envs.errors import EnvError, ResetNeeded, UnknownEnvironment
from envs.mdp import ExactMDP

Factory = Callable[..., ExactMDP]
_REGISTRY: dict[str, tuple[re.Pattern[str], Factory]] = {}


class TextEnv:
    """One environment, stepped by text.

    Parameters
    ----------
    mdp : ExactMDP
    seed : int, optional
        Fresh entropy when None.
    index : int
        Number of the environment under this seed; row i of a vector is environment i.

    Notes
    -----
    One random number is drawn a reset and one a step, used or not. Everything a step needs is looked up in plain Python lists.
    """

    def __init__(self, mdp: ExactMDP, seed: int | None = None, index: int = 0) -> None:
        self.mdp, self.id, self._number = mdp, mdp.id, index
        self._tables = _tables(mdp)
        self._key = int(rng.keys(seed, np.array([index]))[0])
        self._draws, self._steps, self._state, self._over = 0, 0, -1, True

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode and return ``(observation, info)``.

        Parameters
        ----------
        seed : int, optional
            Start the stream of random numbers anew; it goes on when None.
        options : mapping, optional
            ``{"state": s}`` starts in state number s.
        """
        state = dict(check_options(options, ("state",))).get("state")
        if seed is not None:
            self._key, self._draws = int(rng.keys(seed, np.array([self._number]))[0]), 0
        u = self._uniform()
        drawn = int(self.mdp.draw_start(np.array([u]))[0])
        self._state = drawn if state is None else check_states(self.mdp, np.array([state]))[0].item()
        self._steps, self._over = 0, False
        return self._texts[self._state], {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take an action and return ``(observation, reward, terminated, truncated, info)``.

        A string that is not an action is the outcome ``invalid``; ``info["invalid"]`` tells.

        Raises
        ------
        TypeError
            If the action is not a str.
        ResetNeeded
            Before the first reset and after the end of an episode.
        """
        if not isinstance(action, str):
            raise TypeError(f"an action must be a str, got {type(action).__name__}")
        if self._over:
            raise ResetNeeded(f"{self.id}: the episode is over or was never started; call reset()")
        index, texts, outcomes, terminal, invalid, horizon = self._tables
        a = index.get(action, invalid)
        u = self._uniform()
        for limit, state, reward in outcomes(self._state, a):
            if u < limit:
                break
        self._state = state
        self._steps += 1
        terminated = terminal[state]
        truncated = not terminated and self._steps >= horizon
        self._over = terminated or truncated
        return texts[state], reward, terminated, truncated, {"invalid": a == invalid}

    def render(self) -> str:
        """Return the state as text; changes nothing."""
        return self._texts[self._state] if self._state >= 0 else ""

    def close(self) -> None:
        """Nothing to release; here for Gymnasium's convention."""

    @property
    def _texts(self) -> list[str]:
        return self._tables[1]

    def _uniform(self) -> float:
        self._draws += 1
        return rng.uniform(self._key, self._draws - 1)


def _tables(mdp: ExactMDP) -> tuple:
    """Plain Python look-ups of a table: actions, texts, outcomes of (state, action), terminal flags, invalid, horizon."""

    @functools.cache
    def outcomes(state: int, action: int) -> list[tuple[float, int, float]]:
        rows = (mdp.cumulative, mdp.successors, mdp.rewards)
        return list(zip(*(row[state, action].tolist() for row in rows), strict=True))

    return mdp._index, mdp.state_texts.tolist(), outcomes, mdp.terminal.tolist(), mdp.invalid, mdp.horizon


class SimpleEnv:
    """The loop that a reader of the method knows: ``get_state()``, then ``step(action) -> (reward, next_state)``, until ``done``."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.reset()

    def reset(self) -> str:
        """Start an episode and return its first state."""
        self._state, _ = self.env.reset()
        self.done = False
        return self._state

    def get_state(self) -> str:
        """Return the state as text."""
        return self._state

    def step(self, action: str) -> tuple[float, str]:
        """Take an action and return ``(reward, next_state)``; raises :class:`ResetNeeded` once ``done``."""
        self._state, reward, terminated, truncated, _ = self.env.step(action)
        self.done = terminated or truncated
        return reward, self._state


def check_options(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return reset options as they are, or raise :class:`EnvError` that names an unknown key."""
    for key in options or {}:
        if key not in known:
            raise EnvError(f"unknown reset option {key!r}; known: {', '.join(known)}")
    return options or {}


def check_states(mdp: ExactMDP, states: np.ndarray) -> np.ndarray:
    """Return start states as int64, or raise :class:`EnvError` that names the first that is none."""
    states = np.asarray(states)
    wrong = np.ones(states.shape, bool) if states.dtype.kind not in "iu" else (states < 0) | (states >= len(mdp.state_texts))
    if wrong.any():
        raise EnvError(f"{mdp.id}: start state {states[wrong][0]!r} is not a state number below {len(mdp.state_texts)}")
    return states.astype(np.int64)


def register(pattern: str, factory: Factory) -> None:
    r"""Register an environment.

    Parameters
    ----------
    pattern : str
        An id, ``"my/world"``, or one with ``{name}`` places for integers, ``"grid/empty-{n}"``.
    factory : callable
        Called with the id and the integers by name; returns an :class:`ExactMDP`.
    """
    regex = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[0-9]+)", re.escape(pattern))
    _REGISTRY[pattern] = (re.compile(regex), factory)
    exact.cache_clear()


def ids() -> list[str]:
    """Return the registered ids; those with ``{name}`` places stand for a family."""
    return sorted(_REGISTRY)


@functools.lru_cache(maxsize=32)
def exact(id: str) -> ExactMDP:
    """Return the table of an environment.

    Raises
    ------
    UnknownEnvironment
        If no environment has this id; the message names the nearest ones.
    EnvError
        If a number in the id is out of range.
    """
    for regex, factory in _REGISTRY.values():
        match = regex.fullmatch(id) if isinstance(id, str) else None
        if match:
            return factory(id, **{name: int(number) for name, number in match.groupdict().items()})
    near = difflib.get_close_matches(str(id), ids(), n=3, cutoff=0.4) or ids()[:5]
    raise UnknownEnvironment(f"no environment is called {id!r}; near it: {', '.join(near)}")


def make(id: str, seed: int | None = None, index: int = 0) -> TextEnv:
    """Return one environment; see :class:`TextEnv` for the parameters and :func:`exact` for the errors."""
    return TextEnv(exact(id), seed, index)
