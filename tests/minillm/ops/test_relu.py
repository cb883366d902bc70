import numpy as np

from minillm.ops import relu, relu_backward


def test_values_and_slopes():
    y, derivative = relu(np.array([[-2.0, -0.0, 0.0, 3.0, 1e300]]))
    assert y.tolist() == [[0, 0, 0, 3, 1e300]]
    assert derivative.tolist() == [[0, 0, 0, 1, 1]]
    assert relu_backward(np.full((1, 5), 7.0), derivative).tolist() == [[0, 0, 0, 7, 7]]


def test_a_complex_argument_is_sorted_by_its_real_part():
    y, derivative = relu(np.array([[-1 + 5j, 2 - 5j]]))
    assert y.tolist() == [[0, 2 - 5j]]
    assert derivative.tolist() == [[0, 1]]


def test_adjoint(assert_adjoint):
    rng = np.random.default_rng(0)
    assert_adjoint(relu, relu_backward, (rng.normal(0, 3, (6, 5)),), rng)


def test_without_keep_there_is_no_cache():
    x = np.random.default_rng(2).normal(size=(3, 4))
    y, cache = relu(x, keep=False)
    assert cache is None
    assert (y == np.maximum(x, 0)).all()
