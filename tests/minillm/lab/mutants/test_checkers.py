"""The other libraries' schemes: each takes a right gradient of an easy function and has the blind spot of its step and rule."""

import numpy as np
import pytest

from minillm.lab.mutants.checkers import CHECKERS

THETA = np.random.default_rng(0).normal(size=30)


def f(x):
    return (np.sin(x) * np.arange(30)).sum()


def gradient(x):
    return np.cos(x) * np.arange(30)


def judged(name, change, f=f):
    return CHECKERS[name](f, lambda x: change(gradient(x)), THETA.copy(), np.random.default_rng(0))


@pytest.mark.parametrize("name", [name for name in CHECKERS if name not in ("TensorFlow compute_gradient", "the loss goes down")])
def test_right_passes_and_doubled_fails(name):
    assert judged(name, lambda g: g)
    assert not judged(name, lambda g: 2 * g)


@pytest.mark.parametrize(
    ("name", "unseen", "seen"),
    [
        ("complex step, one direction", 1e-15, 1e-11),
        ("torch gradcheck", 1e-4, 1e-2),
        ("JAX check_grads", 1e-7, 1e-3),
        ("Chainer check_backward", 1e-5, 1e-2),
        ("autograd check_grads", 1e-7, 1e-3),
    ],
)
def test_the_smallest_error_that_is_seen_is_that_of_the_rule(name, unseen, seen):
    assert judged(name, lambda g: g * (1 + unseen))
    assert not judged(name, lambda g: g * (1 + seen))


def test_a_large_step_rejects_what_is_right():
    check = CHECKERS["TensorFlow compute_gradient"]
    assert check(lambda x: (x**2).sum(), lambda x: 2 * x, THETA, np.random.default_rng(0))
    assert not check(lambda x: (x**4).sum(), lambda x: 4 * x**3, THETA, np.random.default_rng(0))


def test_the_loss_goes_down_along_half_the_gradient_too():
    assert judged("the loss goes down", lambda g: g / 2)
    assert not judged("the loss goes down", lambda g: -g)
    assert not judged("the loss goes down", lambda g: 0 * g)
