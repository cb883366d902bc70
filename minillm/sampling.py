r"""Which distribution a token is drawn from, and its derivative.

One function, :meth:`Sampling.log_probs`, defines the distribution for sampling *and* for scoring, so temperature, top-k and
top-p are part of every log-probability that is reported, and of every gradient.

Backward. Let K be the set of tokens that are kept. Where the logits move a little, K stays, so it is a constant, and on it

$$\ell_v = z_v/\tau - \log\sum_{w\in K} e^{z_w/\tau}, \qquad
  \bar z_w = \frac1\tau\Big(C_w - p_w\sum_{v\in K} C_v\Big)\ (w\in K), \qquad \bar z_w = 0\ (w\notin K)$$

for coefficients $C_v = \partial F/\partial\ell_v$. A token outside of K has $\ell = -\infty$ and no derivative: its
coefficient is passed over. Greedy decoding ($\tau = 0$) is constant almost everywhere: $\bar z = 0$.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from minillm.errors import UserError, require_integer
from minillm.ops import log_softmax, log_softmax_backward


@dataclasses.dataclass(frozen=True)
class Sampling:
    r"""The distribution that a token is drawn from.

    Parameters
    ----------
    temperature : float
        $p \propto e^{z/\tau}$; $\tau = 0$ is greedy: all on the largest logit, the first one on ties.
    top_k : int, optional
        Keep exactly the k largest logits; among equal ones those of lower id. k above V filters nothing.
    top_p : float in (0, 1], optional
        Keep the most probable tokens up to and including the one that brings their sum to ``top_p``.

    Raises
    ------
    UserError
        For a negative or non-finite temperature, ``top_k`` < 1, or ``top_p`` outside of (0, 1].
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise UserError(f"temperature must be finite and at least 0, got {self.temperature}")
        if self.top_k is not None:
            require_integer("top_k", self.top_k, 1)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def log_probs(self, logits: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """Return log-probabilities of shape (…, V); filtered tokens have −inf, a probability of exactly 0.

        Parameters
        ----------
        logits : ndarray of shape (…, V)
        allowed : bool ndarray that broadcasts to (…, V), optional
            The action mask: other tokens do not exist, before anything else is looked at. At least one of each row must be.
        """
        real = logits.real if allowed is None else np.where(allowed, logits.real, -np.inf)
        if logits.real.dtype.type(self.temperature) == 0:  # also one too small for the dtype
            best = np.arange(logits.shape[-1]) == real.argmax(axis=-1)[..., None]
            return np.where(best, 0, -np.inf).astype(logits.dtype)
        z = logits if allowed is None else np.where(allowed, logits, real.max(axis=-1, keepdims=True))
        if self.temperature != 1:
            with np.errstate(over="ignore"):  # a tiny temperature sends all but the best to −inf
                z = (z - real.max(axis=-1, keepdims=True)) / self.temperature
        if allowed is not None:
            z = np.where(allowed, z, -np.inf)  # after the scaling, which has no meaning at −inf in complex numbers
        if self.top_k is not None and self.top_k < z.shape[-1]:
            z = np.where(_largest(z.real, self.top_k), z, -np.inf)
        log_p, _ = log_softmax(z)
        if self.top_p is not None and self.top_p < 1:
            kept = _nucleus(np.exp(log_p.real.astype(np.float64)), self.top_p)
            log_p, _ = log_softmax(np.where(kept, log_p, -np.inf))
        return log_p

    def backward(self, dlog_p: np.ndarray, log_p: np.ndarray) -> np.ndarray:
        r"""Return $\bar z$ of shape (…, V), from the coefficients ``dlog_p`` $= C$ and what :meth:`log_probs` returned."""
        return self.temperature_backward(log_softmax_backward(np.where(log_p.real > -np.inf, dlog_p, 0), log_p))

    def temperature_backward(self, dz: np.ndarray) -> np.ndarray:
        r"""Return $\bar z$ from the gradient ``dz`` by $z/\tau$: $\bar z = dz/\tau$, and 0 where decoding is greedy."""
        if self.temperature == 1:
            return dz
        return np.zeros_like(dz) if dz.real.dtype.type(self.temperature) == 0 else dz / self.temperature


PLAIN = Sampling()


def _largest(z: np.ndarray, k: int) -> np.ndarray:
    """Mask of exactly k largest entries of each row; of equal ones, the first."""
    threshold = np.partition(z, -k, axis=-1)[..., -k, None]
    above = z > threshold
    ties = z == threshold
    return above | (ties & (np.cumsum(ties, axis=-1) <= k - above.sum(axis=-1, keepdims=True)))


def _nucleus(p: np.ndarray, top_p: float) -> np.ndarray:
    """Mask of the most probable entries, up to and including the one whose cumulative sum reaches top_p."""
    order = np.argsort(-p, axis=-1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=-1)
    before = np.cumsum(ranked, axis=-1) - ranked
    kept = before < top_p
    kept[..., 0] = True
    mask = np.empty_like(kept)
    np.put_along_axis(mask, order, kept, axis=-1)
    return mask


def draw(log_p: np.ndarray, u: np.ndarray) -> np.ndarray:
    r"""Return the first index whose cumulative probability exceeds $u\cdot\sum p$: never one of probability zero.

    Parameters
    ----------
    log_p : ndarray of shape (B, V)
    u : ndarray of shape (B,), in [0, 1)

    Returns
    -------
    ids : int64 array of shape (B,)
    """
    cumulative = np.exp(log_p.astype(np.float64)).cumsum(axis=-1)
    total = cumulative[:, -1:]
    target = np.minimum(u[:, None] * total, np.nextafter(total, 0))
    return (cumulative <= target).sum(axis=-1)
