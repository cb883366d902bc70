"""The wrong policy gradients, and four right ones as controls; each is a weight on the tokens' log-probabilities."""

from __future__ import annotations

from functools import partial

import numpy as np

from minillm.lab.mutants import policy as bed
from minillm.lab.mutants.core import Mutant
from minillm.lab.mutants.policy import BETA, PROBLEMS, RETURNS, REWARDS, TAKEN, TO_GO, Weights, chances, ell, pull
from minillm.ops import log_softmax, log_softmax_backward


def _p(theta: np.ndarray) -> np.ndarray:
    return chances(theta)[:, None]


def _variance(theta: np.ndarray) -> np.generic:
    p = chances(theta)
    return (p * RETURNS**2).sum() - (p * RETURNS).sum() ** 2


def _value(theta: np.ndarray) -> np.ndarray:
    """V of each token's context: the mean return to go of the episodes that pass it."""
    p, values = chances(theta), np.zeros(len(bed.CONTEXTS))
    weights = np.bincount(bed.CONTEXT[TAKEN], np.broadcast_to(p[:, None], TAKEN.shape)[TAKEN])
    sums = np.bincount(bed.CONTEXT[TAKEN], (p[:, None] * TO_GO)[TAKEN])
    values[: len(sums)] = sums / weights
    return values[bed.CONTEXT]


def _next_row(theta: np.ndarray) -> np.ndarray:
    """Each token is scored with the logits after it."""
    z = theta.reshape(-1, bed.V)
    rows = np.roll(bed.CONTEXT, -1, axis=1)
    sums = np.zeros_like(z)
    np.add.at(sums, (rows, bed.TOKENS), np.where(TAKEN, _p(theta) * RETURNS[:, None], 0))
    return log_softmax_backward(sums, log_softmax(z)[0]).reshape(-1)


def _through_the_baseline(theta: np.ndarray) -> np.ndarray:
    gradient = PROBLEMS["J"].gradient(theta)
    return gradient - (chances(theta) * ell(theta).sum(axis=1)).sum() * gradient


def _smoothed(theta: np.ndarray) -> np.ndarray:
    p = chances(theta)
    return (RETURNS * p * p / (p + 1e-8))[:, None]


def _length_normalised(theta: np.ndarray) -> np.ndarray:
    return (RETURNS * np.exp(ell(theta).sum(axis=1) / bed.LENGTHS) / bed.LENGTHS)[:, None]


def _k3_weights(theta: np.ndarray) -> np.ndarray:
    return (BETA * (chances(theta) - chances(bed.OLD)) - chances(theta) * RETURNS)[:, None]


def _renormalised(theta: np.ndarray) -> np.ndarray:
    p = np.where(np.arange(len(RETURNS)) < 12, chances(theta), 0)
    p = p / p.sum()
    return (p * (RETURNS - (p * RETURNS).sum()))[:, None]


def _of(problem: str, rows: list[tuple[str, str, Weights]], equivalent: bool = False) -> list[Mutant]:
    return [Mutant(f"pg-{id}", text, PROBLEMS[problem], partial(pull, w), equivalent) for id, text, w in rows]


def _free(problem: str, id: str, text: str, gradient: Weights) -> Mutant:
    return Mutant(f"pg-{id}", text, PROBLEMS[problem], gradient)


UNEVEN = np.where(np.arange(len(RETURNS)) < 5, 1.5, 0.75)
RETURN = _of("J", [
    ("sign", "descends where it should ascend", lambda z: -_p(z) * RETURNS[:, None]),
    ("shift", "rewards paired with the next token", lambda z: _p(z) * np.roll(TO_GO, -1, axis=1)),
    ("late", "reward to go starts after the action's own reward", lambda z: _p(z) * (TO_GO - REWARDS)),
    ("myopic", "each token gets its own reward alone", lambda z: _p(z) * REWARDS),
    ("no-stop", "the stop token's score is dropped", lambda z: _p(z) * RETURNS[:, None] * (bed.TOKENS != bed.STOP)),
    ("no-first", "the first token's score is dropped", lambda z: _p(z) * RETURNS[:, None] * (np.arange(3) > 0)),
    ("last-only", "only the last token's score", lambda z: _p(z) * RETURNS[:, None] * (np.arange(3) == bed.LENGTHS[:, None] - 1)),
    ("set-for-sample", "coefficient r·p on sampled actions", lambda z: _p(z) ** 2 * RETURNS[:, None]),
    ("sample-for-set", "coefficient r/n on a set of actions", lambda z: RETURNS[:, None] / len(RETURNS) + 0 * _p(z)),
    ("sequence-mean", "each episode's score divided by its length", lambda z: _p(z) * (RETURNS / bed.LENGTHS)[:, None]),
    ("token-mean", "scores divided by the mean number of tokens", lambda z: _p(z) * RETURNS[:, None] / (chances(z) * bed.LENGTHS).sum()),
    ("group-mean", "baseline with the own episode in it, groups of two", lambda z: _p(z) * RETURNS[:, None] / 2),
    ("whitened", "advantages divided by their standard deviation", lambda z: _p(z) * RETURNS[:, None] / np.sqrt(_variance(z))),
    ("whitening-leak", "each reward to go whitened over its step", lambda z: _p(z) * (TO_GO - TO_GO.mean(0)) / TO_GO.std(0)),
    ("clipped-reward", "rewards clipped to [-1, 1]", lambda z: _p(z) * np.clip(RETURNS, -1, 1)[:, None]),
    ("positive-only", "only episodes with a positive return", lambda z: _p(z) * np.maximum(RETURNS, 0)[:, None]),
    ("action-baseline", "a baseline that depends on the action", lambda z: _p(z) * (RETURNS[:, None] - 0.1 * bed.TOKENS)),
    ("old-policy", "samples of an old policy without importance weights", lambda z: chances(bed.OLD)[:, None] * RETURNS[:, None]),
    ("stale-ratio", "importance weights cut off at 1", lambda z: np.minimum(_p(z), chances(bed.OLD)[:, None]) * RETURNS[:, None]),
    ("micro-batch", "means over two micro-batches of unequal size", lambda z: _p(z) * (RETURNS * UNEVEN)[:, None]),
    ("log-p-eps", "log(p + 1e-8) in place of log p", _smoothed),
    ("p-float32", "probabilities through float32", lambda z: _p(z).astype(np.float32).astype(float) * RETURNS[:, None]),
    ("length-normalised", "the length-normalised probability in place of p", _length_normalised),
    ("renormalised", "probabilities renormalised over a part of the outcomes", _renormalised),
    ("duplicate", "one action counted twice in the sum", lambda z: _p(z) * (RETURNS * (1 + (np.arange(15) == 3)))[:, None]),
])  # fmt: skip
FREE = [
    _free("J", "next-row", "tokens scored with the logits of the next position", _next_row),
    _free("J", "baseline-gradient", "the baseline is differentiated too", _through_the_baseline),
    _free("J", "no-rank-one", "∂log p without −p: the one-hot alone", lambda z: _one_hot_alone(z)),
    _free("J", "batch-sum", "a sum over 15 episodes where a mean is meant", lambda z: 15 * PROBLEMS["J"].gradient(z)),
]  # fmt: skip
OTHERS = [
    *_of("discounted", [
        ("no-gamma-t", "γ^t missing before the discounted return", lambda z: _p(z) * bed.discounted_to_go() / bed.DISCOUNTS),
        ("undiscounted", "γ not used at all", lambda z: _p(z) * TO_GO),
    ]),
    *_of("ppo", [
        ("clip-two-sided", "clipping where the unclipped term is the smaller", lambda z: bed.ppo_weights(z, bed.inside)),
        ("no-clip", "the clip left out", lambda z: bed.ppo_weights(z, lambda z: TAKEN)),
        ("ratio-one", "the ratio taken as 1", lambda z: np.where(bed.pessimistic(z), chances(bed.OLD)[:, None] * bed.ADVANTAGES, 0)),
        ("max-for-min", "the larger of the two terms", lambda z: bed.ppo_weights(z, lambda z: ~bed.pessimistic(z) | bed.inside(z))),
    ]),
    *_of("kl", [
        ("k1-in-loss", "k1 = log p − log q differentiated in the loss: no gradient", lambda z: _p(z) * (BETA - RETURNS[:, None])),
        ("k3-in-loss", "k3 differentiated in the loss: the other KL", _k3_weights),
        ("frozen-kl", "the KL of each token, contexts held fixed", bed.frozen_kl_weights),
    ]),
    *_of("entropy", [
        ("frozen-entropy", "the entropy of each token, contexts held fixed", lambda z: -_p(z) * ell(z)),
        ("entropy-sign", "the entropy's sign flipped", lambda z: _p(z) * ell(z).sum(axis=1)[:, None]),
    ]),
    _free("temperature", "no-temperature", "scored without the temperature", PROBLEMS["J"].gradient),
    _free("temperature", "no-chain", "1/τ of the chain rule missing", lambda z: PROBLEMS["temperature"].gradient(z) * bed.TEMPERATURE),
    _free("top_k", "top-k-unfiltered", "top-k sampling scored with the whole distribution", lambda z: pull(bed.filtered_weights, z)),
    _free("top_k", "top-k-not-renormalised", "the kept probabilities not renormalised", lambda z: pull(_kept, z)),
]  # fmt: skip
CONTROLS = _of("J", [
    ("to-go", "reward to go in place of the whole return", lambda z: _p(z) * TO_GO),
    ("constant-baseline", "a constant baseline", lambda z: _p(z) * (RETURNS[:, None] - 3)),
    ("mean-baseline", "the expected return as the baseline", lambda z: _p(z) * (RETURNS - (chances(z) * RETURNS).sum())[:, None]),
    ("value-baseline", "the exact value of each context as the baseline", lambda z: _p(z) * (TO_GO - _value(z))),
], equivalent=True)  # fmt: skip
CATALOGUE = [*RETURN, *FREE, *OTHERS, *CONTROLS]


def _one_hot_alone(theta: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(bed.CONTEXTS), bed.V))
    np.add.at(sums, (bed.CONTEXT, bed.TOKENS), np.where(TAKEN, _p(theta) * RETURNS[:, None], 0))
    return sums.reshape(-1)


def _kept(theta: np.ndarray) -> np.ndarray:
    """Weights of J over the episodes that top-k can write, with their probabilities of the whole distribution."""
    possible = np.where(TAKEN, np.isfinite(bed.TOP_TWO[bed.CONTEXT, bed.TOKENS]), True).all(axis=1)
    return (chances(theta) * RETURNS * possible)[:, None]
