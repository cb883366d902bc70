"""Experience ↔ batch: one row an episode, a position a token, as the estimators see it."""

from __future__ import annotations

import numpy as np

from minillm.estimators import Batch
from minillm.experience import Experience
from minillm.objectives import IGNORE


class Layout:
    """Where each token of M steps stands in N rows of T positions: an episode's actions, one behind the other.

    Parameters
    ----------
    experience : Experience

    Attributes
    ----------
    mask : bool array of shape (N, T)
        Where a token that was sampled stands; observations have no positions here.
    """

    def __init__(self, experience: Experience) -> None:
        taken = experience.action_ids != IGNORE
        _, start, episode = np.unique(experience.episodes, return_index=True, return_inverse=True)
        lengths = taken.sum(axis=1)
        before = np.cumsum(lengths) - lengths
        self._tokens = np.nonzero(taken)
        step, column = self._tokens
        self._places = episode[step], before[step] - before[start][episode[step]] + column
        self._steps = taken.shape
        self.mask = np.zeros((len(start), int(self._places[1].max(initial=-1)) + 1), dtype=bool)
        self.mask[self._places] = True

    def rows(self, values: np.ndarray, filler: float = 0) -> np.ndarray:
        """Return values (M, L, …) of the tokens of steps as rows (N, T, …)."""
        rows = np.full((*self.mask.shape, *values.shape[2:]), filler, values.dtype)
        rows[self._places] = values[self._tokens]
        return rows

    def steps(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (N, T, …) as values (M, L, …) of the tokens of steps: the inverse of :meth:`rows`."""
        values = np.zeros((*self._steps, *rows.shape[2:]), rows.dtype)
        values[self._tokens] = rows[self._places]
        return values


def token_batch(experience: Experience, layout: Layout, log_probs: np.ndarray, **given: np.ndarray | None) -> Batch:
    """Return the batch of an experience.

    Parameters
    ----------
    experience : Experience
    layout : Layout
        Of this experience.
    log_probs : ndarray of shape (M, L)
        Of the tokens taken, under the current policy.
    **given : ndarrays of shape (M, L) or (M, L, V), or None
        Optional fields of :class:`minillm.estimators.Batch` that have a value a token.

    Notes
    -----
    A step's reward stands at its action's last token. The group of an episode is its first state. An episode that the horizon
    cuts off ends there: J counts nothing after it, so ``last_values`` stay 0.
    """
    shape = experience.action_ids.shape
    rewards = np.zeros(shape)
    last = (experience.action_ids != IGNORE).sum(axis=1) - 1
    rewards[np.arange(shape[0]), last] = experience.rewards
    _, start = np.unique(experience.episodes, return_index=True)
    _, state = np.unique(experience.states, return_inverse=True)
    return Batch(
        log_probs=layout.rows(log_probs),
        mask=layout.mask,
        rewards=layout.rows(rewards),
        groups=state[start],
        turns=layout.rows(np.broadcast_to(experience.steps[:, None], shape), -1),
        states=layout.rows(np.broadcast_to(state[:, None], shape), -1),
        **{name: None if values is None else layout.rows(values) for name, values in given.items()},
    )
