r"""$\nabla F$ of a batch of sequences, in parts side by side: $F = \sum_{bt} c_{bt}\,\log p(b_{bt}\mid b_{b,<t})$ for constants c.

With $c = -1/n$ this is the loss of maximum likelihood; with advantages it is REINFORCE's surrogate, over tokens that are there
already as sequences. (Decisions in states, many of them equal, are differentiated by :mod:`minillm.scoring`.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.language_model import LanguageModel
from minillm.objectives import IGNORE, weighted_log_likelihood
from minillm.threads import in_parts, parallel_map
from minillm.transformer import GPT

SHARDS = 2  # parts of a batch that are differentiated side by side, whatever the number of cores
SHARDED_WORK = 1 << 25  # tokens times parameters below which a batch is one part: the calls cost more than the arithmetic


def default_parts(model: LanguageModel, ids: np.ndarray) -> int:
    """Return in how many parts a batch is differentiated where nobody says: it depends on the two sizes alone, never on the cores."""
    return max(1, min(len(ids), SHARDS if ids.size * model.parameters.vector.size >= SHARDED_WORK else 1))


def weighted_gradient(
    model: GPT, ids: np.ndarray, targets: np.ndarray, c: np.ndarray, *, parts: int | None = None, rng: Any = None
) -> tuple[float, np.ndarray]:
    r"""Return $F = \sum c_{bt}\,\ell_{bt}$ of targets (B, T) and its gradient (P,).

    Parameters
    ----------
    model : GPT
    ids, targets : integer arrays of shape (B, T)
    c : ndarray that broadcasts to (B, T); not looked at where the target is ``IGNORE``
    parts : int, optional
        The batch is differentiated in so many parts (accumulation): two cores, and the memory, hold two of them at a time.
        :func:`default_parts` when None.
    rng : seed or numpy.random.Generator, optional
        Source of dropout's masks, one stream for each part; None: no dropout.
    """
    parts = max(1, default_parts(model, ids) if parts is None else min(parts, len(ids)))
    streams = [None] * parts if rng is None else np.random.default_rng(rng).spawn(parts)
    c = np.broadcast_to(c, np.shape(targets))

    def differentiate(part: tuple[Any, Any]) -> tuple[Any, np.ndarray]:
        rows, stream = part
        logits, cache = model.forward(ids[rows], rng=stream)
        value, dlogits = weighted_log_likelihood(logits, targets[rows], c[rows])
        return value, model.backward(dlogits, cache, use_up=True)

    shards: list[Any] = np.array_split(np.arange(len(ids)), parts) if parts > 1 else [slice(None)]
    (value, gradient), *others = parallel_map(differentiate, list(zip(shards, streams, strict=True)))

    def add(span: slice) -> None:
        for _, other in others:  # in the order of the parts
            gradient[span] += other[span]

    in_parts(add, gradient.size)
    return float(value + sum(other for other, _ in others)), gradient


def likelihood_gradient(
    model: GPT, ids: np.ndarray, targets: np.ndarray, *, parts: int | None = None, rng: Any = None
) -> tuple[float, np.ndarray]:
    """Return the cross-entropy of targets (B, T), in nats a token, and its gradient (P,): :func:`weighted_gradient` with c = −1/n."""
    n = int((targets != IGNORE).sum())
    return weighted_gradient(model, ids, targets, np.asarray(-1 / max(n, 1)), parts=parts, rng=rng)
