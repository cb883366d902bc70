r"""A world without a table: what is known of it comes from playing.

Its J is sampled: the mean $\bar R$ of the sums of rewards of n episodes, with the standard error $s/\sqrt n$, s having the divisor n − 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from minillm.errors import UserError
from minillm.tokenizer import CharTokenizer
from minillm.training import collect, uniform_policy

PROBED = 24  # episodes of the uniform policy that are played to see what the world's texts look like
ASCII = "".join(map(chr, range(32, 127)))
EVALUATED = 100  # episodes of an estimate of J


class PlayedWorld:
    """As much of an ``envs.ExactMDP`` as training looks at, for an environment without a table.

    Parameters
    ----------
    id : str
    make : callable
        Returns one more such environment.

    Attributes
    ----------
    action_texts : str array of shape (A,)
    state_texts : str array
        Some texts that were met, all printable ASCII characters, and a text twice as long as the longest that was met.
    rewards : float64 array
        Those that were met.

    Raises
    ------
    UserError
        If the environment does not list its actions in an attribute ``action_texts``.
    """

    def __init__(self, id: str, make: Any) -> None:
        self.id, self._make = id, make
        self._pools: dict[int, list] = {}
        actions = getattr(make(), "action_texts", None)
        if actions is None:
            raise UserError(f"{id} has neither a table nor a list of its actions (an attribute action_texts)")
        self.action_texts = np.array(actions)
        policy = uniform_policy(CharTokenizer.from_texts(self.action_texts.tolist()), self.action_texts, 0)
        met = collect(self.batch(PROBED, 0), policy)
        texts, self.rewards = np.unique([*met.states, *met.next_states]), np.unique(met.rewards)
        self.state_texts = np.array([*texts, ASCII, "." * 2 * max(map(len, texts.tolist()))])

    def batch(self, n: int, seed: int, part: int = 0) -> Any:
        """Return n environments in lockstep; those of different parts may be played at the same time."""
        from minillm.worlds import load_envs

        pool = self._pools.setdefault(part, [])
        pool += [self._make() for _ in range(n - len(pool))]
        return load_envs().adapters.Lockstep(pool[:n], seed)

    def single(self, seed: int) -> Any:
        """Return one environment whose episodes begin with the seed."""
        env = self._make()
        env.reset(seed=seed)
        return env


def estimate(returns: np.ndarray) -> dict[str, Any]:
    """Return mean, standard error and number of the returns (n,); the error of one return is not a number."""
    error = float(stats.sem(returns)) if len(returns) > 1 else float("nan")
    return {"mean": float(returns.mean()), "standard_error": error, "n": len(returns)}


def sampled_value(agent: Any, world: PlayedWorld, seed: int, episodes: int = EVALUATED) -> dict[str, Any]:
    """Return the estimate of J of an agent's policy from so many episodes."""
    return estimate(collect(world.batch(episodes, seed), agent.remembering_act()).returns())


def spelled(sampled: dict[str, Any]) -> str:
    """Return an estimate as text: mean ± standard error (n)."""
    return f"{sampled['mean']:.4f} ± {sampled['standard_error']:.4f} (n = {sampled['n']})"
