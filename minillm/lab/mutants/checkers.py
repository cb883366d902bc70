r"""Checkers that are graded: ours, and the default schemes of six others, written from their documentation.

Each takes ``(f, gradient, theta, rng)`` and returns True when it takes the gradient for right. The schemes differ in the step h, in
whether they look along one random direction or at every entry, and in the rule $|g - d| \le a + r|d|$ for the difference quotient d.
"""

from __future__ import annotations

import functools

import numpy as np

from minillm.lab.differentiate import central_difference, complex_step
from minillm.lab.mutants.core import Checker, Function

TOLERANCE = 1e-14


def one_direction(f: Function, gradient: Function, theta: np.ndarray, rng: np.random.Generator) -> bool:
    r"""Ours: one complex step, $|\operatorname{Im} f(\theta+ihv)/h - \langle g,v\rangle| \le 10^{-14}\,\|g\|\|v\|$."""
    g, v = gradient(theta), rng.normal(size=theta.size)
    error = abs(float(complex_step(f, theta, v)) - float(g @ v))
    return bool(error <= TOLERANCE * np.linalg.norm(g) * np.linalg.norm(v))


def torch_gradcheck(f: Function, gradient: Function, theta: np.ndarray, rng: np.random.Generator) -> bool:
    """``torch.autograd.gradcheck``: every entry, eps=1e-6, atol=1e-5, rtol=1e-3."""
    return _close(gradient(theta), _every_entry(f, theta, 1e-6), 1e-5, 1e-3)


def tensorflow_compute_gradient(f: Function, gradient: Function, theta: np.ndarray, rng: np.random.Generator) -> bool:
    """``tf.test.compute_gradient``: every entry, delta=1/1024, then ``assertAllClose`` with its 1e-6 and 1e-6."""
    return _close(gradient(theta), _every_entry(f, theta, 1 / 1024), 1e-6, 1e-6)


def jax_check_grads(f: Function, gradient: Function, theta: np.ndarray, rng: np.random.Generator) -> bool:
    """``jax.test_util.check_grads``, reverse mode, order 1: one direction, eps=1e-4, 1e-5 and 1e-5 in float64."""
    v, cotangent = rng.normal(size=theta.size), rng.normal()
    return _close(cotangent * (gradient(theta) @ v), cotangent * central_difference(f, theta, v, 1e-4), 1e-5, 1e-5)


def chainer_check_backward(f: Function, gradient: Function, theta: np.ndarray, rng: np.random.Generator) -> bool:
    """``chainer.gradient_check.check_backward``: one direction of length 1, eps=1e-3, atol=1e-5, rtol=1e-4."""
    v = rng.normal(size=theta.size)
    v /= np.linalg.norm(v)
    return _close(gradient(theta) @ v, central_difference(f, theta, v, 1e-3), 1e-5, 1e-4)


def autograd_check_grads(f: Function, gradient: Function, theta: np.ndarray, rng: np.random.Generator) -> bool:
    """``autograd.test_util.check_grads``, reverse mode, order 1: one direction, EPS=1e-6, absolute *or* relative 1e-6."""
    v, cotangent = rng.normal(size=theta.size), rng.normal()
    a = cotangent * (gradient(theta) @ v)
    b = cotangent * central_difference(f, theta, v, 0.5e-6)
    return bool(abs(a - b) < 1e-6 or abs(a - b) < 1e-6 * abs(a + b))


def loss_goes_down(f: Function, gradient: Function, theta: np.ndarray, rng: np.random.Generator) -> bool:
    """Twenty steps of gradient descent with the rate 0.01, and f is lower than before."""
    before = float(f(theta))
    with np.errstate(all="ignore"):  # a wrong gradient may lead anywhere
        for _ in range(20):
            theta = theta - 0.01 * gradient(theta)
        return float(f(theta)) < before


CHECKERS: dict[str, Checker] = {
    "complex step, one direction": one_direction,
    "torch gradcheck": torch_gradcheck,
    "TensorFlow compute_gradient": tensorflow_compute_gradient,
    "JAX check_grads": jax_check_grads,
    "Chainer check_backward": chainer_check_backward,
    "autograd check_grads": autograd_check_grads,
    "the loss goes down": loss_goes_down,
}


def _every_entry(f: Function, theta: np.ndarray, h: float) -> np.ndarray:
    return _quotients(f, theta.tobytes(), h)


@functools.lru_cache(maxsize=32)
def _quotients(f: Function, theta: bytes, h: float) -> np.ndarray:
    """All difference quotients; they are the same for every mutant of a problem."""
    point = np.frombuffer(theta)
    return np.array([central_difference(f, point, unit, h) for unit in np.eye(point.size)])


def _close(g: np.ndarray, d: np.ndarray, absolute: float, relative: float) -> bool:
    return bool(np.all(np.abs(g - d) <= absolute + relative * np.abs(d)))
