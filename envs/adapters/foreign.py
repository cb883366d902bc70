"""Environments that have no table here, played through our calling convention."""

from collections.abc import Callable, Sequence
from typing import Any

from envs.adapters.extras import need
from envs.core import ResetNeeded, check_options
from envs.rng import check_seed

INVALID_COST = 0.1


class ForeignEnv:
    """The protocol around three functions: begin(seed) -> text, play(action) -> (text, reward, terminated, truncated).

    Parameters
    ----------
    id : str
    begin, play : callables as above
    horizon : the episode is truncated after this many steps
    action_texts : the actions, where they can be listed
    """

    def __init__(
        self,
        id: str,
        begin: Callable,
        play: Callable,
        horizon: int,
        seed: int | None = None,
        action_texts: Sequence[str] | None = None,
    ):
        self.id, self.horizon, self.action_texts = id, horizon, action_texts
        self._begin, self._play = begin, play
        self.first_seed = check_seed(seed)
        self._text, self._done, self._time = "", True, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[str, dict]:
        """Begin an episode; `first_seed` holds for the first reset without one."""
        check_options(options, set())
        seed, self.first_seed = (self.first_seed if seed is None else check_seed(seed)), None
        self._text, self._done, self._time = self._begin(seed), False, 0
        return self._text, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict]:
        """Play an action string."""
        if not isinstance(action, str):
            raise TypeError(f"action must be a str, got {type(action).__name__}: {action!r}")
        if self._done:
            raise ResetNeeded(f"{self.id}: no episode is under way; call reset() first")
        self._text, reward, terminated, truncated = self._play(action)
        self._time += 1
        truncated = not terminated and (truncated or self._time >= self.horizon)
        self._done = terminated or truncated
        return self._text, float(reward), bool(terminated), bool(truncated), {}

    def render(self) -> str:
        """Return the current text; changes nothing."""
        return self._text

    def close(self) -> None:
        """Do nothing; close the wrapped environment yourself."""


def from_gymnasium(
    env: Any, obs_to_text: Callable[[Any], str], actions: Sequence[str], *, horizon: int = 100, seed: int | None = None
) -> ForeignEnv:
    """Return a Gymnasium environment with discrete actions as a text environment.

    A string that is not in `actions` (in the order of the action numbers) leaves the state unchanged and costs 0.1.
    """
    number = {action: a for a, action in enumerate(actions)}
    text = [""]

    def begin(seed):
        """Reset."""
        text[0] = obs_to_text(env.reset(seed=seed)[0])
        return text[0]

    def play(action):
        """Step, or stay where the string is no action."""
        if action not in number:
            return text[0], -INVALID_COST, False, False
        obs, reward, terminated, truncated, _ = env.step(number[action])
        text[0] = obs_to_text(obs)
        return text[0], reward, terminated, truncated

    return ForeignEnv(f"gymnasium:{env.spec.id}" if env.spec else "gymnasium", begin, play, horizon, seed, actions)


def from_textworld(env: Any, *, horizon: int = 100, id: str = "textworld") -> ForeignEnv:
    """Return a TextWorld game (`reset() -> (text, infos)`, `step(command) -> (text, score, done, infos)`).

    TextWorld's score is cumulative, so the reward of a step is the difference of two scores. Its interpreter takes
    printable text only: every other character of a command reaches it as `?`.
    """
    score = [0.0]

    def begin(seed):
        """Reset; the game has no seed."""
        score[0] = 0.0
        return env.reset()[0]

    def play(action):
        """Type the command."""
        obs, total, done, _ = env.step("".join(c if c.isprintable() else "?" for c in action))
        reward, score[0] = total - score[0], total
        return obs, reward, done, False

    return ForeignEnv(id, begin, play, horizon)


def from_reasoning_gym(task: str, *, size: int = 1000, seed: int = 0, **options: Any) -> ForeignEnv:
    """Return a reasoning-gym task as a one-step environment: the question is the prompt, its scorer pays the answer.

    That package gives entry i of a data set the seed `seed + i`; here seed k owns the entries k·size to (k + 1)·size -
    1, so that different seeds never share a question's seed. Episodes walk through the entries in order.
    """
    reasoning_gym = need("reasoning_gym", "reasoning")
    state: dict[str, Any] = {"next": 0}

    def load(seed):
        """Begin the data set of a seed."""
        state.update(data=reasoning_gym.create_dataset(task, size=size, seed=seed * size, **options), next=0)

    def begin(seed):
        """Ask the next question."""
        if seed is not None:
            load(seed)
        state["entry"] = state["data"][state["next"] % size]
        state["next"] += 1
        return state["entry"]["question"]

    def play(answer):
        """Score the answer."""
        return "", state["data"].score_answer(answer, state["entry"]), True, False

    load(check_seed(seed))
    return ForeignEnv(f"reasoning_gym:{task}", begin, play, 1, seed)
