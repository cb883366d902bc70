"""check_operation: our operations have nothing wrong, and each wrong one is caught for its own reason."""

import numpy as np
import pytest

from minillm import ops
from minillm.lab import adjoint_error, check_operation

rng = np.random.default_rng(0)
x, W, b = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
q, k, v = rng.normal(size=(3, 2, 2, 4, 3))
RIGHT = {
    "linear": (ops.linear, ops.linear_backward, [x, W, b]),
    "layernorm": (lambda x, w, b: ops.layernorm(x, w, b, 1e-5), ops.layernorm_backward, [x, W[:, 0], W[:, 1]]),
    "gelu_new": (ops.gelu_new, ops.gelu_new_backward, [x]),
    "log_softmax": (ops.log_softmax, ops.log_softmax_backward, [x]),
    "embedding": (lambda W: ops.embedding(np.array([2, 0, 2, 2]), W), ops.embedding_backward, [W]),
    "attention": (lambda q, k, v: ops.attention(q, k, v, np.tri(4, dtype=bool)), ops.attention_backward, [q, k, v]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_our_operations_are_well_behaved(name):
    assert check_operation(*RIGHT[name]) == []
    assert adjoint_error(*RIGHT[name], rng=1) < 1e-15


@pytest.mark.parametrize("name", ["linear", "layernorm", "gelu_new", "embedding"])
def test_no_rows_are_rows_too(name):
    op, backward, inputs = RIGHT[name]
    if name == "embedding":
        op, inputs = (lambda W: ops.embedding(np.zeros(0, int), W)), [W]
    else:
        inputs = [x[:0], *inputs[1:]]
    assert check_operation(op, backward, inputs) == []


class Stateful:
    """An operation that keeps its cache on an object."""

    def forward(self, x):
        self.x = x
        return x * x, None

    def backward(self, dy, cache):
        return 2 * self.x * dy


def square(x):
    return x * x, x


def writes(dy, x):
    dy *= 2 * x
    return dy


WRONG = {
    "adjoint": (square, lambda dy, x: x * dy, "adjoint"),
    "writes": (square, writes, "writes to its inputs"),
    "shape": (square, lambda dy, x: (2 * x * dy)[:1], "shape"),
    "stateful": (Stateful().forward, None, "changes an earlier cache"),
    "nonlinear": (square, lambda dy, x: 2 * x * dy * np.abs(dy), "not linear"),
    "nonzero": (square, lambda dy, x: 2 * x * dy + 1e-300, "exact zero"),
    "alias": (lambda x: (x + 1, x), lambda dy, x: dy, "shares memory"),
    "output": (lambda x: (x[:], x), lambda dy, x: dy.copy(), "output shares memory"),
    "random": (lambda x: (x + np.random.default_rng().normal(), x), lambda dy, x: dy.copy(), "not deterministic"),
    "layout": (
        square,
        lambda dy, x: 2 * dy * np.lib.stride_tricks.as_strided(x, x.shape, np.empty(x.shape).strides),
        "non-contiguous",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_is_named(name):
    op, backward, part = WRONG[name]
    if name == "stateful":
        backward = op.__self__.backward
    try:
        problems = check_operation(op, backward, [x])
    except ValueError:
        assert name == "shape"
        return
    assert any(part in problem for problem in problems), problems
