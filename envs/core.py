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
from envs.rng import check_seed, seed_word, stream_keys, uniforms
from envs.rows import Over, ResetNeeded, Row, Rows

BLOCK = 2048  # random numbers of one environment that are computed at once


class UnknownEnvironment(ValueError):
    """No environment has this id; the message names the nearest ids."""


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
        self._rows, self._over = Rows(mdp), Over(mdp.id)
        self._starts, self._horizon = mdp.start_cumulative.tolist(), mdp.horizon
        self._row: Row | Over = self._over
        self._left = 0
        self._seed(seed)

    def _seed(self, seed: int | None) -> None:
        self._key, self._drawn = stream_keys(seed_word(seed), np.array([self.index])), 0
        self._ranks: list = []

    def _draw(self) -> None:
        """Compute the next numbers, last one first, and their ranks among the table's levels (see `ExactMDP.levels`)."""
        first, self._drawn = self._drawn, self._drawn + BLOCK
        u, levels = uniforms(self._key, np.arange(first, self._drawn, dtype=np.uint64))[::-1], self.mdp.levels
        self._u = u.data
        self._ranks = (u if levels is None else levels.searchsorted(u, side="right")).tolist()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[str, dict]:
        """Begin an episode and return (observation, info).

        Parameters
        ----------
        seed : None goes on with the stream of random numbers; an integer begins the stream anew
        options : {"state": index of the start state} or None; never changed
        """
        if seed is not None:
            self._seed(check_seed(seed))
        if not self._ranks:
            self._draw()
        self._ranks.pop()
        state = bisect_right(self._starts, self._u[len(self._ranks)])
        if options:
            state = int(check_states(self.mdp, check_options(options, {"state"})["state"], ()))
        self._row, self._left = row, _ = self._rows[state], self._horizon
        return row.text, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict]:
        """Play an action string and return (observation, reward, terminated, truncated, info).

        Raises
        ------
        TypeError
            If the action is not a string.
        ResetNeeded
            If no episode is under way.
        """
        try:
            self._row, text, reward, terminated = self._row[action][self._ranks.pop()]
        except TypeError:
            raise TypeError(f"action must be a str, got {type(action).__name__}: {action!r}") from None
        except IndexError:  # no numbers are left
            self._draw()
            return self.step(action)
        self._left = left = self._left - 1
        if terminated or not left:
            self._row, self._over.text = self._over, text
            return text, reward, terminated, not terminated, {}
        return text, reward, False, False, {}

    def render(self) -> str:
        """Return the current state's text; changes nothing."""
        if self._row.text is None:
            raise ResetNeeded(f"{self.id}: no episode is under way; call reset() first")
        return self._row.text

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


def build(id: str, **options: Any) -> Any:
    """Return the table of an environment (tables are shared and read-only), or a new environment where there is no table.

    Raises
    ------
    UnknownEnvironment
        If no environment has this id.
    ValueError, TypeError
        If an option is unknown or out of range.
    ImportError
        If it needs a package that is not installed.
    """
    if not isinstance(id, str):
        raise TypeError(f"an environment id must be a str, got {type(id).__name__}")
    built = _build(id, tuple(sorted(options.items())))
    return built if isinstance(built, ExactMDP) else _build_now(id, options)


def exact(id: str, **options: Any) -> ExactMDP:
    """Return the table of an environment; errors as of :func:`build`, and ValueError if it has no table."""
    built = build(id, **options)
    if not isinstance(built, ExactMDP):
        raise ValueError(f"{id} has no exact table")
    return built


def make(id: str, seed: int | None = None, *, index: int = 0, **options: Any) -> Any:
    """Return one environment; errors as of :func:`build`.

    Parameters
    ----------
    seed : int >= 0 or None (fresh entropy)
    index : the stream of random numbers within the seed; where there is no table, there is but one
    """
    check_seed(seed)
    built = build(id, **options)
    if isinstance(built, ExactMDP):
        return TextEnv(built, seed, index)
    if hasattr(built, "first_seed"):
        built.first_seed = seed
    return built
