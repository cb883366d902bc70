r"""Decisions under a model: the log-probability of every token that was taken, and $\sum c\,\nabla\log p$.

**Sampling and scoring agree.** Both are :meth:`minillm.sampling.Sampling.log_probs` of the logits, so temperature, top-k and top-p are
part of the scored distribution and of its gradient. The logits themselves come from a cached decoding in the one case and from
one forward pass over packed decisions in the other; the same sums, added in another order, they agree to the last few bits
(1e-13 in float64) and not exactly. What is exact: :func:`score` of the same decisions under the same θ gives the same *bits*,
for any number of cores. So the log-probabilities of the behaviour policy that a ratio is taken to are scored once more,
here, before the first update, and the ratio then is exactly 1. Dropout plays no part in scoring.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from minillm.experience import Experience
from minillm.language_model import LanguageModel
from minillm.packing import Decisions, Packed
from minillm.sampling import PLAIN, Sampling
from minillm.threads import ordered_sum, parallel_map
from minillm.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Scores:
    """M decisions under a model, in float64 at least; 0 beyond an action's tokens.

    Attributes
    ----------
    log_probs : ndarray of shape (M, L)
        Of the tokens taken.
    full_log_probs : ndarray of shape (M, L, V), or None
        Of every token of the vocabulary in their places.
    values : ndarray of shape (M, L), or None
        V before each token.
    """

    log_probs: np.ndarray
    full_log_probs: np.ndarray | None
    values: np.ndarray | None


def score(
    model: LanguageModel, tokenizer: Tokenizer, experience: Experience, sampling: Sampling = PLAIN, full: bool = False
) -> Scores:
    """Score the tokens of experience; ``full`` asks for the whole vocabulary, a value head is asked where there is one."""
    decisions = Decisions(experience.states, experience.action_ids)
    D, L = decisions.action_ids.shape
    dtype = np.result_type(model.parameters.vector.dtype, np.float64)
    taken, everything = np.zeros((D, L), dtype), np.zeros((D, L, model.config.vocab_size), dtype) if full else None
    values = np.zeros((D, L), dtype) if model.config.value_head else None

    def read(piece: Packed) -> None:
        logits, cache = model.forward(piece.ids, at=piece.at, positions=piece.positions, visible=piece.visible, keep=values is not None)
        log_p = sampling.log_probs(logits)
        log_p = log_p.reshape(-1, log_p.shape[-1])
        piece.collect(log_p[piece.places, piece.targets], taken)
        if everything is not None:
            piece.collect(log_p[piece.places], everything)
        if values is not None:
            piece.collect(model.values(cache).reshape(-1)[piece.places], values)

    parallel_map(read, list(decisions.pack(tokenizer, np.ones(D, dtype=bool))))
    same = decisions.same
    return Scores(taken[same], *(None if array is None else array[same] for array in (everything, values)))


def policy_gradient(
    model: LanguageModel,
    tokenizer: Tokenizer,
    experience: Experience,
    c: np.ndarray,
    sampling: Sampling = PLAIN,
    dvalues: np.ndarray | None = None,
    map: Callable[..., list] = parallel_map,
) -> np.ndarray:
    r"""Return $\sum_{kt} c_{kt}\,\nabla\log p(a_{kt}\mid s_k, a_{k,<t})$ over the tokens of experience: exactly, with the least work.

    Equal decisions are differentiated once, with the sum of their coefficients, and those whose sums are zero not at all; what
    several of them begin with, their state at least, is read once (see :mod:`minillm.packing`).

    Parameters
    ----------
    model : LanguageModel
    tokenizer : Tokenizer
    experience : Experience
    c : ndarray of shape (M,), (M, L) or (M, L, V)
        A coefficient a step, a token, or, dense, a token of the vocabulary in each place:
        $\sum_{ktv} C_{ktv}\,\nabla\log p(v\mid s_k, a_{k,<t})$.
    sampling : Sampling
        The distribution that the tokens were drawn from; p is its probability.
    dvalues : ndarray of shape (M, L), optional
        Adds $\sum_{kt} \bar V_{kt}\,\nabla V_{kt}$, of the value head.
    map : callable, (function, items) → list
        Where the pieces are differentiated: in threads, or on the workers of a :class:`minillm.crew.Crew`. The pieces, and the order of
        their sum, are the same, and so is every bit.

    Returns
    -------
    gradient : ndarray of shape (P,)
    """
    decisions = Decisions(experience.states, experience.action_ids)
    shape = experience.action_ids.shape
    C = decisions.add(np.broadcast_to(c[:, None], shape) if c.ndim == 1 else c)
    dV = None if dvalues is None else decisions.add(dvalues)
    wanted = (C != 0).reshape(len(C), -1).any(axis=1)
    if dV is not None:
        wanted |= (dV != 0).any(axis=1)

    pieces = [
        (piece, piece.spread(C), None if dV is None else piece.spread(dV)) for piece in decisions.pack(tokenizer, wanted)
    ]
    return ordered_sum(functools.partial(_differentiate, model, sampling), pieces, np.zeros_like(model.parameters.vector), map)


def _differentiate(model: LanguageModel, sampling: Sampling, part: tuple[Packed, np.ndarray, np.ndarray | None]) -> np.ndarray:
    """The gradient of one piece, with the coefficients of its tokens and the slopes of their values; those of one node add up."""
    piece, weights, dvalues = part
    logits, cache = model.forward(piece.ids, at=piece.at, positions=piece.positions, visible=piece.visible)
    C = np.zeros_like(logits.reshape(-1, logits.shape[-1]))
    np.add.at(C, (piece.places, piece.targets) if weights.ndim == 1 else piece.places, weights)
    dlogits = sampling.backward(C.reshape(logits.shape), sampling.log_probs(logits))
    dV = None
    if dvalues is not None:
        dV = np.zeros(piece.at.shape, logits.dtype)
        np.add.at(dV.reshape(-1), piece.places, dvalues)
    return model.backward(dlogits, cache, dV, use_up=True)
