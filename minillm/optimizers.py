r"""Optimizers over the flat vector θ: each step is a few in-place array operations.

They *minimise*: pass the gradient of a loss, or minus the gradient of an objective that is to grow.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from minillm.errors import NonFiniteError, UserError
from minillm.ops.blocks import constants, row_blocks
from minillm.parameters import Parameters
from minillm.threads import in_parts


class SGD:
    r"""$\theta \leftarrow \theta - \eta\,g$, over ``parameters.vector`` in place."""

    def __init__(self, parameters: Parameters, lr: float) -> None:
        self.parameters, self.lr = parameters, _rate(lr)

    def step(self, gradient: np.ndarray, lr: float | None = None) -> None:
        """Move θ against ``gradient`` of shape (P,), with the rate ``lr`` or the one given at the start."""
        self.parameters.vector -= (self.lr if lr is None else lr) * gradient


class AdamW:
    r"""Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2).

    $$m \leftarrow \beta_1 m + (1-\beta_1)g, \quad v \leftarrow \beta_2 v + (1-\beta_2)g^2, \quad
      \theta \leftarrow \theta - \eta\lambda\,\theta - \eta\,\frac{m/(1-\beta_1^t)}{\sqrt{v/(1-\beta_2^t)}+\epsilon}$$

    Parameters
    ----------
    parameters : Parameters
        Changed in place. Matrices decay; gains, shifts and biases do not (:func:`decay_groups`); a tied embedding is one
        matrix with one state.
    lr : float
        $\eta$.
    betas : tuple of float
    eps : float
    weight_decay : float
        $\lambda$.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        self.parameters, self.lr, self.betas, self.eps, self.weight_decay = parameters, _rate(lr), betas, eps, weight_decay
        self.t = 0
        self.m = np.zeros_like(parameters.vector)
        self.v = np.zeros_like(parameters.vector)
        self.decaying = [parameters.slices[name] for name in decay_groups(parameters)[0]]

    def step(self, gradient: np.ndarray, lr: float | None = None) -> None:
        """Move θ against ``gradient`` of shape (P,), with the rate ``lr`` or the one given at the start."""
        lr = self.lr if lr is None else lr
        self.t += 1
        if self.weight_decay:
            kept = np.array(1 - lr * self.weight_decay, gradient.dtype)
            for span in self.decaying:
                self.parameters.vector[span] *= kept
        beta_1, beta_2 = self.betas
        root = math.sqrt(1 - beta_2**self.t)
        rate = lr / (1 - beta_1**self.t) * root  # of m/(√v + ε·root): the quotient's corrections taken out of it
        in_parts(functools.partial(self._move, gradient, rate, self.eps * root), gradient.size)

    def _move(self, gradient: np.ndarray, rate: float, eps: float, part: slice) -> None:
        dtype, vector = gradient.dtype, self.parameters.vector
        new_1, new_2 = constants(dtype, 1 - self.betas[0], 1 - self.betas[1])
        small, eta = np.array(eps, dtype), np.array(rate, dtype)
        for block in row_blocks(part.stop, 1, part.start):
            g, m, v, theta = gradient[block], self.m[block], self.v[block], vector[block]
            step = g - m
            step *= new_1
            m += step
            np.multiply(g, g, step)
            step -= v
            step *= new_2
            v += step
            np.sqrt(v, step)
            step += small
            np.divide(m, step, step)
            step *= eta
            theta -= step


def decay_groups(parameters: Parameters) -> tuple[list[str], list[str]]:
    """Return the names of the arrays that decay, the matrices, and of those that do not; each name is in exactly one list."""
    matrices = [name for name, view in parameters.items() if view.ndim > 1]
    vectors = [name for name, view in parameters.items() if view.ndim == 1]
    assert sorted([*matrices, *vectors]) == sorted(parameters), "a parameter is in no group or in two"
    return matrices, vectors


def clip_by_global_norm(gradient: np.ndarray, max_norm: float) -> float:
    r"""Scale ``gradient`` in place by $\min(1, c/\|g\|)$ and return $\|g\|$ as it was; a zero gradient stays zero.

    Raises
    ------
    NonFiniteError
        If the norm is not finite; the gradient is then untouched.
    """
    with np.errstate(over="ignore"):
        norm = math.sqrt(float(gradient @ gradient))
    if not math.isfinite(norm):
        raise NonFiniteError(f"the norm of the gradient is {norm}")
    if norm > max_norm:
        gradient *= max_norm / norm
    return norm


def require_finite(what: str, layout: Parameters, vector: np.ndarray, step: int) -> None:
    """Raise :class:`NonFiniteError` that names the step, the first array that is not finite everywhere, the index, and its range."""
    finite = np.isfinite(vector)
    if finite.all():
        return
    first = int(np.argmin(finite))
    name, index = layout.name_at(first)
    array = vector[layout.slices[name]]
    rest, nans = array[np.isfinite(array)], int(np.isnan(array).sum())
    between = f", the others from {rest.min():.3g} to {rest.max():.3g}" if rest.size else ""
    raise NonFiniteError(
        f"{what} of {name} is {vector[first]} at index {index} in step {step}: of its {array.size} entries {nans} are NaN and "
        f"{array.size - rest.size - nans} infinite{between}"
    )


def require_finite_update(layout: Parameters, loss: float, gradient: np.ndarray, step: int) -> None:
    """Raise :class:`NonFiniteError` if loss or gradient is not finite; it names an array, of the parameters if it is their fault."""
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(gradient.sum())  # only if each number is: cheaper than to ask of each
    if math.isfinite(loss) and finite:
        return
    require_finite("the parameter", layout, layout.vector, step)
    require_finite("the gradient", layout, gradient, step)
    if not math.isfinite(loss):
        raise NonFiniteError(f"the loss is {loss} in step {step}, and all parameters and gradients are finite")


def warmup_cosine(step: int, warmup: int, total: int, lr: float, min_lr: float = 0.0) -> float:
    r"""Return the rate of ``step`` (from 0): linear over ``warmup`` steps, then a half cosine down to ``min_lr`` at ``total``."""
    if step < warmup:
        return lr * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * done))


def _rate(lr: float) -> float:
    if not (lr >= 0 and math.isfinite(lr)):
        raise UserError(f"lr must be finite and at least 0, got {lr}")
    return lr
