"""The text-environment protocol, its errors, and the registry of ids."""

import difflib
import inspect
import re
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from envs.mdp import ExactMDP
from envs.rng import check_seed, seed_word, stream, stream_keys


class UnknownEnvironment(ValueError):
    """No environment has this id; the message names the nearest ids."""


class ResetNeeded(RuntimeError):
    """The episode has ended, or none was begun: call reset() first."""


class TextEnv:
    r"""One environment played from its table, in Gymnasium's calling convention; observations and actions are strings.

    Reaching the horizon without termination gives (terminated, truncated) = (False, True); termination exactly there
    gives (True, False). Every string that is not canonical is the action `invalid`.

    Parameters
    ----------
    mdp : ExactMDP
    seed : int >= 0 or None (fresh entropy)
    index : int
        The stream of random numbers within the seed: row i of a batch is the environment with index i.
    """

    def __init__(self, mdp: ExactMDP, seed: int | None = None, index: int = 0):
        self.mdp, self.id, self.index = mdp, mdp.id, index
        self._texts, self._terminal = mdp.state_texts.tolist(), mdp.terminal.tolist()
        self._rows: list = [None] * len(self._texts)
        self._starts = mdp.start_cumulative.tolist()
        self._horizon = mdp.horizon
        self._state, self._time, self._done = -1, 0, True
        self._seed(seed)

    def _seed(self, seed: int | None) -> None:
        self._uniform = stream(stream_keys(seed_word(seed), np.array([self.index]))).__next__

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[str, dict]:
        """Begin an episode and return (observation, info).

        Parameters
        ----------
        seed : None goes on with the stream of random numbers; an integer begins the stream anew
        options : {"state": index of the start state} or None; never changed
        """
        if seed is not None:
            self._seed(check_seed(seed))
        known = check_options(options, {"state"}) if options else {}
        state = bisect_right(self._starts, self._uniform())
        self._state = int(check_states(self.mdp, known["state"], ())) if known else state
        self._time, self._done = 0, False
        return self._texts[self._state], {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict]:
        """Play an action string and return (observation, reward, terminated, truncated, info).

        Raises
        ------
        TypeError
            If the action is not a string.
        ResetNeeded
            If no episode is under way.
        """
        if not isinstance(action, str):
            raise TypeError(f"action must be a str, got {type(action).__name__}: {action!r}")
        if self._done:
            raise ResetNeeded(f"{self.id}: no episode is under way; call reset() first")
        row = self._rows[self._state] or self._row(self._state)
        cumulative, outcomes = row.get(action) or row[None]
        self._state, text, reward, terminated = outcomes[bisect_right(cumulative, self._uniform())]
        self._time = time = self._time + 1
        if terminated or time >= self._horizon:
            self._done = True
            return text, reward, terminated, not terminated, {}
        return text, reward, False, False, {}

    def _row(self, state: int) -> dict:
        """A state's outcomes as action -> (cumulative, [(next state, text, reward, terminated)]); None is `invalid`.

        Prepared at the first visit.
        """
        mdp, texts, terminal = self.mdp, self._texts, self._terminal
        cells = zip(*(table[state].tolist() for table in (mdp.cumulative, mdp.successors, mdp.rewards)), strict=True)
        outcomes = [(c, [(s, texts[s], r, terminal[s]) for s, r in zip(ss, rs, strict=True)]) for c, ss, rs in cells]
        self._rows[state] = dict(zip([*mdp.action_numbers, None], outcomes, strict=True))
        return self._rows[state]

    def render(self) -> str:
        """Return the current state's text; changes nothing."""
        if self._state < 0:
            raise ResetNeeded(f"{self.id}: no episode is under way; call reset() first")
        return self._texts[self._state]

    def close(self) -> None:
        """Do nothing; there is nothing to release."""


class SimpleEnv:
    """The loop as a reader of the method knows it: `get_state()`, `step(action) -> (reward, next_state)`, `done`."""

    def __init__(self, env):
        self.env = env
        self.reset()

    def reset(self) -> str:
        """Begin an episode and return its first state text."""
        self._state, _ = self.env.reset()
        self.done = False
        return self._state

    def get_state(self) -> str:
        """Return the current state text."""
        return self._state

    def step(self, action: str) -> tuple[float, str]:
        """Play an action and return (reward, next state text); `done` says whether the episode has ended."""
        self._state, reward, terminated, truncated, _ = self.env.step(action)
        self.done = terminated or truncated
        return reward, self._state


def check_options(options: dict | None, known: set[str]) -> dict:
    """Return a copy of a reset's options; refuse unknown keys."""
    if options and (unknown := set(options) - known):
        raise ValueError(f"unknown reset option {min(unknown)!r}; known: {', '.join(sorted(known))}")
    return dict(options or {})


def check_states(mdp: ExactMDP, states: Any, shape: tuple) -> np.ndarray:
    """Return start states as a new int array of the given shape; refuse indices that are no running state."""
    states = np.array(states)
    if states.shape != shape or states.dtype.kind not in "iu":
        raise ValueError(f"start states must be integers of shape {shape}, got {states.dtype} {states.shape}")
    if ((states < 0) | (states >= len(mdp.state_texts))).any() or mdp.terminal[states].any():
        raise ValueError(f"{mdp.id}: a start state must be a non-terminal index below {len(mdp.state_texts)}")
    return states.astype(np.intp)


_REGISTRY: dict[str, tuple[re.Pattern, Callable, tuple[str, ...]]] = {}


def register(pattern: str, factory: Callable[..., Any], examples: tuple[str, ...] | None = None) -> None:
    """Make an environment known by an id.

    Parameters
    ----------
    pattern : str
        An id, in which `{N}` (a capital) stands for a whole number and `{name}` (small letters) for any text; what
        stands there is passed to the factory as a keyword of that name.
    factory : callable
        `factory(id, **options)` returns an ExactMDP, or an object with reset and step where there is no table.
    examples : ids that stand for the pattern in `ids()`; by default the pattern itself if it is a plain id
    """
    parts = re.split(r"\{([A-Z]|[a-z_]+)\}", pattern)
    literals = [re.escape(part) for part in parts[::2]]
    holes = [f"(?P<{part}>{'0|[1-9][0-9]*' if part.isupper() else '.+'})" for part in parts[1::2]]
    groups = [piece for pair in zip(literals, [*holes, ""], strict=True) for piece in pair]
    if examples is None:
        examples = (pattern,) if len(parts) == 1 else ()
    _REGISTRY[pattern] = re.compile("".join(groups)), factory, examples
    _build.cache_clear()


def ids() -> list[str]:
    """Return the ids of the default instances, in the order of their registration."""
    return [id for _, _, examples in _REGISTRY.values() for id in examples]


def _build_now(id: str, options: dict) -> Any:
    for pattern, factory, _ in _REGISTRY.values():
        if match := pattern.fullmatch(id):
            named = {k: int(v) if k.isupper() else v for k, v in match.groupdict().items()}
            known = list(inspect.signature(factory).parameters)[1:]
            if unknown := [k for k in options if k not in known or k in named]:
                raise ValueError(f"{id} has no option {unknown[0]!r}; options: {sorted(set(known) - set(named))}")
            return factory(id, **named, **options)
    near = difflib.get_close_matches(id, ids(), n=3, cutoff=0.3) or ids()[:3]
    raise UnknownEnvironment(f"unknown environment {id!r}; nearest: {', '.join(near)}")


@lru_cache(maxsize=32)
def _build(id: str, options: tuple) -> Any:
    return _build_now(id, dict(options))


def exact(id: str, **options: Any) -> ExactMDP:
    """Return the table of an environment (tables are shared and read-only).

    Raises
    ------
    UnknownEnvironment
        If no environment has this id.
    ValueError
        If an option is unknown or out of range, or the environment has no table.
    """
    if not isinstance(id, str):
        raise TypeError(f"an environment id must be a str, got {type(id).__name__}")
    built = _build(id, tuple(sorted(options.items())))
    if not isinstance(built, ExactMDP):
        raise ValueError(f"{id} has no exact table")
    return built


def make(id: str, seed: int | None = None, *, index: int = 0, **options: Any) -> Any:
    """Return one environment; `index` chooses its stream of random numbers within the seed.

    Raises
    ------
    UnknownEnvironment
        If no environment has this id.
    ValueError, TypeError
        If an option or the seed is wrong.
    """
    check_seed(seed)
    try:
        mdp = exact(id, **options)
    except ValueError as error:
        if "has no exact table" not in str(error):
            raise
        return _build_now(id, options)
    return TextEnv(mdp, seed, index)
