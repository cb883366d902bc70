import mpmath
import numpy as np
import pytest

from minillm.ops import swiglu, swiglu_backward

GATES = np.array([[-90.0, -9.0, -3.3, -1.0, -0.1, 0.0, 1e-8, 0.5, 2.0, 6.0, 40.0]])


def test_equals_fifty_digits():
    rng = np.random.default_rng(0)
    up, dy = rng.normal(size=(2, *GATES.shape))
    y, cache = swiglu(GATES, up)
    dgate, dup = swiglu_backward(dy, cache)
    with mpmath.workdps(50):
        def silu(t):
            return t / (1 + mpmath.exp(-t))

        values = [silu(mpmath.mpf(t)) for t in GATES[0]]
        slopes = np.array([float(mpmath.diff(silu, mpmath.mpf(t))) for t in GATES[0]])
        np.testing.assert_allclose(y[0], [float(v * u) for v, u in zip(values, up[0], strict=True)], rtol=1e-15)
        np.testing.assert_allclose(dup[0], [float(v * d) for v, d in zip(values, dy[0], strict=True)], rtol=1e-15)
        np.testing.assert_allclose(dgate, dy * up * slopes, rtol=1e-14)


def test_adjoint(assert_adjoint):
    rng = np.random.default_rng(1)
    assert_adjoint(swiglu, swiglu_backward, (rng.normal(0, 3, (6, 5)), rng.normal(size=(6, 5))), rng)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_a_shut_gate_passes_nothing_and_an_open_one_all(dtype):
    y, cache = swiglu(np.array([[-1e3, 1e3]], dtype), np.array([[2, 3]], dtype))
    dgate, dup = swiglu_backward(np.ones((1, 2), dtype), cache)
    for found, expected in ((y, [[0, 3e3]]), (dgate, [[0, 3]]), (dup, [[0, 1e3]])):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_without_keep_there_is_no_cache_and_the_same_output():
    gate, up = np.random.default_rng(2).normal(size=(2, 3, 4))
    y, cache = swiglu(gate, up, keep=False)
    assert cache is None
    assert (y == swiglu(gate, up)[0]).all()
