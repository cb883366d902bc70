"""The best of an experience: which steps the language model should imitate."""

from __future__ import annotations

import numpy as np

from minillm.experience import Experience
from minillm.returns import reward_to_go


def best_steps(experience: Experience, share: float) -> Experience:
    r"""Return the steps after which the most reward came: of the n steps taken in each state the first $\lceil n\cdot\text{share}\rceil$.

    The order is that of $G_{it}$, the reward from step t of episode i to its end, from large to small; equal ones stay in the order
    in which they were played. Fitting to these steps alone is imitation of what went well, an improvement of the policy that
    played (the cross-entropy method, Rubinstein 1999, in each state). Where chance pays, luck is imitated too.
    """
    _, episode = np.unique(experience.episodes, return_inverse=True)
    N, H = int(episode.max()) + 1, int(experience.steps.max()) + 1
    rewards, mask = np.zeros((N, H)), np.zeros((N, H), dtype=bool)
    rewards[episode, experience.steps], mask[episode, experience.steps] = experience.rewards, True
    returns = reward_to_go(rewards, mask)[episode, experience.steps]
    _, state, counts = np.unique(experience.states, return_inverse=True, return_counts=True)
    order = np.lexsort([-returns, state])
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return experience.take(np.sort(order[rank < share * counts[state[order]]]))
