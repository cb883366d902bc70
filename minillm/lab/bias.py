r"""The bias of :func:`minillm.objectives.reinforce` and :func:`minillm.training.coefficients`, by enumeration.

Each function yields labels and $\|E[\hat g] - \alpha\nabla J\|/\|\nabla J\|$ with the α that the documentation names: zero, up to rounding,
if the label is true. The registered estimators have theirs in :mod:`minillm.lab.estimators`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from minillm.experience import Experience
from minillm.lab.differentiate import complex_gradient
from minillm.lab.gate_cases import small_model
from minillm.objectives import IGNORE, expected_reward, reinforce, token_log_probs
from minillm.ops import log_softmax, log_softmax_backward
from minillm.training import coefficients


def one_turn() -> Iterator[tuple[str, float]]:
    """:func:`minillm.objectives.reinforce`, a model of three tokens: all seven actions, and all groups of two of them."""
    model = small_model(3, 3, seed=5)
    actions = [(0, IGNORE), *itertools.product((1, 2), range(3))]
    targets = np.array(actions)
    ids = np.stack([np.zeros(len(actions), dtype=np.int64), targets[:, 0]], axis=1)
    logits, cache = model.forward(ids)
    p = np.exp(token_log_probs(logits, targets).sum(axis=-1))
    rewards = np.random.default_rng(6).normal(size=len(actions))
    exact = model.backward(expected_reward(logits, targets, rewards)[1], cache)
    for baseline, size, factor in (("none", 1, 1.0), ("none", 2, 1.0), ("leave_one_out", 2, 1.0), ("mean", 2, 0.5)):
        mean = np.zeros_like(logits)
        for rows in itertools.product(range(len(actions)), repeat=size):
            i = list(rows)
            _, dlogits = reinforce(logits[i], targets[i], rewards[i], baseline)
            np.add.at(mean, i, p[i].prod() * dlogits)
        label = f"reinforce, baseline {baseline}, {size} sampled, against {'∇J' if factor == 1 else '½∇J'}"
        yield label, _relative(model.backward(mean, cache), factor * exact, exact)


def many_turns() -> Iterator[tuple[str, float]]:
    """:func:`minillm.training.coefficients` in a world of two states and two turns: all batches of three episodes.

    Action a leads to state a, so some states are visited in one episode alone and the baseline's second rule is at work too.
    """
    rng = np.random.default_rng(7)
    theta, pays = rng.normal(size=(2, 2, 2))
    plans = np.array([(first, second) for first in range(2) for second in range(2)])
    visited = np.stack([np.zeros(4, dtype=np.int64), plans[:, 0]], axis=1)
    rewards = pays[visited, plans]

    def chances(z: np.ndarray) -> np.ndarray:
        return np.exp(log_softmax(z)[0][visited, plans].sum(axis=1))

    exact = complex_gradient(lambda z: (chances(z) * rewards.sum(axis=1)).sum(), theta)
    for baseline in ("none", "leave_one_out"):
        weights = np.zeros((2, 2))
        for batch in itertools.product(range(4), repeat=3):
            i = list(batch)
            c = coefficients(_experience(visited[i], rewards[i]), baseline)
            np.add.at(weights, (visited[i].ravel(), plans[i].ravel()), chances(theta)[i].prod() * c)
        estimate = log_softmax_backward(weights, log_softmax(theta)[0])
        yield f"training.coefficients, baseline {baseline}, 3 episodes, against ∇J", _relative(estimate, exact, exact)


def _experience(visited: np.ndarray, rewards: np.ndarray) -> Experience:
    """Whole episodes (N, 2) with what the coefficients depend on: states, rewards, episodes and steps."""
    N, H = visited.shape
    texts, flags = visited.astype(str).ravel(), np.zeros(N * H, dtype=bool)
    episodes, steps = np.divmod(np.arange(N * H), H)
    zeros = np.zeros(N * H)
    return Experience(texts, texts, texts, rewards.ravel(), flags, flags, zeros[:, None], zeros[:, None], episodes, steps)


def _relative(estimate: np.ndarray, expected: np.ndarray, scale: np.ndarray) -> float:
    return float(np.linalg.norm(estimate - expected) / np.linalg.norm(scale))
