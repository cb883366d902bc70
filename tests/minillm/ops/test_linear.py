import numpy as np

from minillm.ops import linear, linear_backward


def loop(x, weight, bias):
    y = np.zeros((len(x), len(bias)))
    for n in range(len(x)):
        for j in range(len(bias)):
            y[n, j] = bias[j] + sum(x[n, i] * weight[i, j] for i in range(x.shape[1]))
    return y


def test_equals_the_loop():
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), rng.normal(size=5)
    np.testing.assert_allclose(linear(x, weight, bias)[0], loop(x, weight, bias), rtol=1e-14, atol=1e-14)


def test_adjoint(assert_adjoint):
    rng = np.random.default_rng(1)
    for N, I, O in [(1, 1, 1), (5, 3, 4), (7, 8, 2)]:  # noqa: E741
        inputs = rng.normal(size=(N, I)), rng.normal(size=(I, O)), rng.normal(size=O)
        assert_adjoint(linear, linear_backward, inputs, rng)


def test_a_weight_collects_over_all_rows():
    x, weight, bias = np.ones((6, 2)), np.zeros((2, 3)), np.zeros(3)
    dx, dweight, dbias = linear_backward(np.ones((6, 3)), linear(x, weight, bias)[1])
    assert (dweight == 6).all()
    assert (dbias == 6).all()
    assert (dx == 0).all()


def test_the_weight_is_stored_in_out():
    y, _ = linear(np.array([[1.0, 0.0]]), np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.zeros(3))
    assert y.tolist() == [[1, 2, 3]]


def test_the_gradients_of_the_parameters_are_written_where_they_are_wanted():
    rng = np.random.default_rng(2)
    _, cache = linear(rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), rng.normal(size=5))
    dy, out = rng.normal(size=(4, 5)), (np.full((3, 5), np.nan), np.full(5, np.nan))
    _, *written = linear_backward(dy, cache, out=out)
    for mine, there, free in zip(written, out, linear_backward(dy, cache)[1:], strict=True):
        assert mine is there
        assert (there == free).all()
