"""What the tests of the estimators share: random batches, and the bed of which all is known by enumeration."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minillm.lab
from minillm.estimators import Batch, Estimator
from minillm.estimators.batch import PER_EPISODE
from minillm.ops import log_softmax, log_softmax_backward

V = 3
FLOATS = ("log_probs", "rewards", "old_log_probs", "ref_log_probs", "values", "full_log_probs", "full_ref_log_probs", "q")


def _random_batch(seed: int, N: int = 4, T: int = 5, mask: np.ndarray | None = None) -> Batch:
    """Ragged masks with holes, some rows empty; NaN wherever the mask is False; θ ≠ θ_old."""
    rng = np.random.default_rng(seed)
    ragged = rng.random((N, T)) < rng.choice([0.0, 0.6, 0.9, 1.0], size=(N, 1), p=[0.1, 0.4, 0.3, 0.2])
    mask = ragged if mask is None else mask
    turns = np.where(mask, np.cumsum(rng.random((N, T)) < 0.4, axis=1), -1)
    z, z_ref = rng.normal(size=(2, N, T, V))
    ell = -rng.exponential(size=(N, T))
    fields = {
        "log_probs": ell, "rewards": rng.normal(size=(N, T)), "old_log_probs": ell + rng.normal(0, 0.3, (N, T)),
        "ref_log_probs": ell + rng.normal(0, 0.5, (N, T)), "values": rng.normal(size=(N, T)),
        "full_log_probs": log_softmax(z)[0], "full_ref_log_probs": log_softmax(z_ref)[0], "q": rng.normal(size=(N, T, V)),
    }  # fmt: skip
    for name in FLOATS:
        fields[name][~mask] = np.nan
    fields |= {"last_values": rng.normal(size=N), "score_norms": rng.exponential(size=N)}
    return Batch(mask=mask, groups=rng.integers(0, 2, N), turns=turns, states=turns % 3, **fields)


def _with_observations(batch: Batch, rng: np.random.Generator) -> tuple[Batch, np.ndarray]:
    """The same batch with columns of observations in between, and where its own columns went."""
    N, T = batch.mask.shape
    wide = T + int(rng.integers(1, 12))
    columns = np.sort(rng.choice(wide, T, replace=False))
    fields = {}
    for name in Batch.__dataclass_fields__:
        old = getattr(batch, name)
        if old is None or name in PER_EPISODE:
            fields[name] = old
            continue
        empty = {"mask": False, "turns": -1, "states": -1}.get(name, np.nan)
        fields[name] = np.full((N, wide, *old.shape[2:]), empty, old.dtype)
        fields[name][:, columns] = old
    return Batch(**fields), columns


class Bed:
    """Tabular policy θ (7, 3) on 15 episodes; with ``theta_old`` the episodes come from that one."""

    def __init__(self) -> None:
        data = json.loads(Path(minillm.lab.__file__).with_name("bed.json").read_text())
        self.theta = np.array(data["logits"])
        self.rows = {tuple(context): k for k, context in enumerate(data["contexts"])}
        episodes = data["episodes"]
        E, T = len(episodes), data["max_tokens"]
        self.mask, self.rewards = np.zeros((E, T), bool), np.zeros((E, T))
        self.context, self.tokens = np.zeros((2, E, T), int)
        for i, episode in enumerate(episodes):
            for t, (token, reward) in enumerate(zip(episode["tokens"], episode["rewards"], strict=True)):
                self.mask[i, t], self.rewards[i, t], self.tokens[i, t] = True, reward, token
                self.context[i, t] = self.rows[tuple(episode["tokens"][:t])]

    def log_probs(self, theta: np.ndarray) -> np.ndarray:
        return np.where(self.mask, log_softmax(theta)[0][self.context, self.tokens], 0)

    def p(self, theta: np.ndarray) -> np.ndarray:
        return np.exp(self.log_probs(theta).sum(axis=1))

    def value(self, theta: np.ndarray) -> np.ndarray:
        """Exact J."""
        return (self.p(theta) * self.rewards.sum(axis=1)).sum()

    def action_values(self) -> np.ndarray:
        """Exact Q (7, 3): the mean of what follows, over the episodes that take that token there."""
        weight, total = np.zeros((2, *self.theta.shape))
        p, following = self.p(self.theta), np.cumsum(self.rewards[:, ::-1], axis=1)[:, ::-1]
        for i, t in zip(*np.nonzero(self.mask), strict=True):
            weight[self.context[i, t], self.tokens[i, t]] += p[i]
            total[self.context[i, t], self.tokens[i, t]] += p[i] * following[i, t]
        return total / weight

    def batch(self, i: np.ndarray, theta_old: np.ndarray | None = None, **fields: np.ndarray) -> Batch:
        full = log_softmax(self.theta)[0][self.context[i]]
        old = None if theta_old is None else self.log_probs(theta_old)[i]
        return Batch(
            log_probs=self.log_probs(self.theta)[i], mask=self.mask[i], rewards=self.rewards[i], groups=np.zeros(len(i), int),
            turns=np.where(self.mask[i], np.arange(3), -1), old_log_probs=old, full_log_probs=full,
            **{name: value[i] for name, value in fields.items()},
        )  # fmt: skip

    def moments(self, estimator: Estimator, G: int = 1, theta_old: np.ndarray | None = None, **fields: np.ndarray) -> SimpleNamespace:
        """E[ĝ] (7, 3) and G times the trace of Cov[ĝ], over all G-tuples of episodes."""
        p = self.p(self.theta if theta_old is None else theta_old)
        mean, square = np.zeros_like(self.theta), 0.0
        for group in itertools.product(range(len(p)), repeat=G):
            i = np.array(group)
            g = self.gradient(i, estimator.coefficients(self.batch(i, theta_old, **fields)))
            mean += p[i].prod() * g
            square += p[i].prod() * (g**2).sum()
        return SimpleNamespace(mean=mean, variance=G * (square - (mean**2).sum()))

    def gradient(self, i: np.ndarray, c: np.ndarray) -> np.ndarray:
        dlog_p, index = np.zeros_like(self.theta), (self.context[i], self.tokens[i])
        np.add.at(dlog_p, self.context[i] if c.ndim == 3 else index, c)
        return log_softmax_backward(dlog_p, log_softmax(self.theta)[0])


@pytest.fixture(scope="session")
def random_batch() -> Callable:
    """``random_batch(seed, N, T, mask)``: ragged masks, groups, turns; NaN off the mask; all optional fields."""
    return _random_batch


@pytest.fixture(scope="session")
def with_observations() -> Callable:
    """``with_observations(batch, rng)``: observation columns inserted, and where the old columns are."""
    return _with_observations


@pytest.fixture(scope="session")
def bed() -> Bed:
    """The bed of ``minillm/lab/bed.json``."""
    return Bed()
