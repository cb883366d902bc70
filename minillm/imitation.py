"""The best of an experience: which steps the language model should imitate."""

from __future__ import annotations

import numpy as np

from minillm.experience import Experience
from minillm.returns import reward_to_go

RANKINGS = ("step", "action")


def best_steps(experience: Experience, share: float, by: str = "step") -> Experience:
    r"""Return the best steps: of the n steps taken in each state the first $\lceil n\cdot\text{share}\rceil$.

    By ``"step"`` the order is that of $G_{it}$, the reward from step t of episode i to its end, from large to small. Fitting to these
    steps alone is imitation of what went well, an improvement of the policy that played (the cross-entropy method, Rubinstein 1999, in
    each state). Where chance pays, luck is imitated too. By ``"action"`` it is that of $\bar G_{sa}$, the mean of $G_{it}$ over all
    steps with this state and action, an estimate of $Q(s,a)$ of the policy that played; its greedy policy is never worse (Howard
    1960, the policy improvement theorem). Equal ones stay in the order in which they were played.
    """
    _, episode = np.unique(experience.episodes, return_inverse=True)
    N, H = int(episode.max()) + 1, int(experience.steps.max()) + 1
    rewards, mask = np.zeros((N, H)), np.zeros((N, H), dtype=bool)
    rewards[episode, experience.steps], mask[episode, experience.steps] = experience.rewards, True
    worth = reward_to_go(rewards, mask)[episode, experience.steps]
    _, state, counts = np.unique(experience.states, return_inverse=True, return_counts=True)
    if by == "action":
        _, action = np.unique(experience.actions, return_inverse=True)
        pair = state * (int(action.max()) + 1) + action
        means = np.bincount(pair, weights=worth) / np.maximum(np.bincount(pair), 1)
        worth = np.round(means, 9)[pair]  # equal means are equal in whichever order they were summed
    order = np.lexsort([-worth, state])
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return experience.take(np.sort(order[rank < share * counts[state[order]]]))
