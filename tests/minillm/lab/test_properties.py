"""Every operation and the whole model on drawn sizes and values: one complex-step direction an example, and what algebra promises.

Blind inputs are excluded: no size of 1 (except where stated), random gains and biases, repeated tokens, a random upstream gradient.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minillm import ops
from minillm.lab import adjoint_error, check_operation, differentiate
from minillm.lab.mutants import policy as bed
from minillm.lab.standard import random_case
from minillm.objectives import expected_reward, weighted_log_likelihood
from minillm.transformer import GPT

SIZE = st.integers(2, 6)
SEED = st.integers(0, 2**32 - 1)
SCALE = st.sampled_from([0.1, 1.0, 3.0])


@st.composite
def operations(draw):
    """An operation, its backward and its inputs."""
    rng, scale = np.random.default_rng(draw(SEED)), draw(SCALE)
    N, M = draw(SIZE), draw(SIZE)
    C = draw(st.integers(3, 6))  # LayerNorm of two features without eps is constant: its gradient is rounding
    B, H, Tk = draw(SIZE), draw(SIZE), draw(SIZE)
    Tq = draw(st.integers(2, Tk))
    ids = rng.integers(M, size=N)
    ids[-1] = ids[0]
    visible = np.tri(Tq, Tk, Tk - Tq, dtype=bool)
    eps = draw(st.sampled_from([0.0, 1e-5, 0.1]))
    x = scale * rng.normal(size=(N, C))
    return draw(
        st.sampled_from(
            [
                (ops.linear, ops.linear_backward, [x, *rng.normal(size=(2, C, M))[:1], rng.normal(size=M)]),
                (lambda W: ops.embedding(ids, W), ops.embedding_backward, [rng.normal(size=(M, C))]),
                (lambda x, w, b: ops.layernorm(x, w, b, eps), ops.layernorm_backward, [x, *rng.normal(size=(2, C))]),
                (ops.gelu_new, ops.gelu_new_backward, [x]),
                (ops.log_softmax, ops.log_softmax_backward, [x]),
                (
                    lambda q, k, v: ops.attention(q, k, v, visible),
                    ops.attention_backward,
                    [scale * rng.normal(size=(B, H, T, C)) for T in (Tq, Tk, Tk)],
                ),
            ]
        )
    )


@st.composite
def cases(draw):
    """A whole model with a loss."""
    V, H, D = draw(st.integers(3, 9)), draw(st.integers(1, 3)), draw(st.integers(2, 4))
    return random_case(draw(SEED), V=V, T=draw(SIZE), B=draw(SIZE), H=H, D=D, tied=draw(st.booleans()))


@settings(deadline=None)
@given(operations(), SEED)
def test_every_operation_passes_the_adjoint_test(operation, seed):
    assert adjoint_error(*operation, rng=seed) < 1e-14


@settings(max_examples=30, deadline=None)
@given(operations(), SEED)
def test_every_operation_is_well_behaved(operation, seed):
    assert check_operation(*operation, rng=seed, tolerance=1e-13) == []


@settings(max_examples=50, deadline=None)
@given(cases(), SEED)
def test_the_model_passes_one_direction(case, seed):
    v, g = np.random.default_rng(seed).normal(size=case.theta.size), case.gradient(case.theta)
    error = abs(differentiate.complex_step(case.loss, case.theta, v) - g @ v)
    assert error <= 1e-14 * np.linalg.norm(g) * np.linalg.norm(v)


@settings(max_examples=20, deadline=None)
@given(cases(), SEED)
def test_the_hessian_is_symmetric(case, seed):
    u, v = np.random.default_rng(seed).normal(size=(2, case.theta.size))
    Hu, Hv = (differentiate.hessian_vector_product(case.gradient, case.theta, w) for w in (u, v))
    assert abs(u @ Hv - v @ Hu) <= 1e-13 * np.linalg.norm(u) * np.linalg.norm(Hv)


@settings(max_examples=20, deadline=None)
@given(cases())
def test_the_key_bias_has_no_gradient(case):
    gradient, C = case.layout(case.gradient(case.theta)), case.config.n_embd
    for i in range(case.config.n_layer):
        key_bias = gradient[f"h.{i}.attn.c_attn.bias"][C : 2 * C]
        assert np.abs(key_bias).max() <= 1e-15 * np.abs(gradient.vector).max()


@settings(max_examples=20, deadline=None)
@given(cases(), SEED)
def test_a_permuted_batch_has_the_same_loss_and_gradient(case, seed):
    order = np.random.default_rng(seed).permutation(len(case.ids))
    permuted = type(case)(case.config, case.theta, case.ids[order], case.targets[order], case.upstream[order])
    assert permuted.loss(case.theta) == pytest.approx(case.loss(case.theta), rel=1e-13)
    g = case.gradient(case.theta)
    np.testing.assert_allclose(permuted.gradient(case.theta), g, atol=1e-13 * np.abs(g).max())


@settings(max_examples=20, deadline=None)
@given(cases())
def test_micro_batches_add_up(case):
    """The gradient of a batch is the sum of its rows' gradients by the same dlogits."""
    model = GPT.from_vector(case.config, case.theta)
    logits, cache = model.forward(case.ids)
    dlogits = case.dlogits(logits)[1]
    whole, parts = model.backward(dlogits, cache), np.zeros(case.theta.size)
    for row in range(len(case.ids)):
        parts += model.backward(dlogits[row : row + 1], model.forward(case.ids[row : row + 1])[1])
    np.testing.assert_allclose(parts, whole, atol=1e-13 * np.abs(whole).max())
    shares = differentiate.per_sample_gradients(lambda d: model.backward(d, cache), dlogits)
    np.testing.assert_allclose(shares.sum(axis=0), whole, atol=1e-13 * np.abs(whole).max())


@settings(max_examples=20, deadline=None)
@given(cases(), SEED)
def test_a_later_token_has_exactly_no_influence(case, seed):
    v, t = np.random.default_rng(seed).normal(size=case.config.n_embd), case.ids.shape[1] - 1
    moved = case.layout(case.theta.astype(np.complex128))
    moved["wpe.weight"][t] += 1e-20j * v
    logits, _ = GPT.from_vector(case.config, moved.vector).forward(case.ids)
    np.testing.assert_array_equal(logits[:, :t].imag, 0)
    assert (logits[:, t].imag != 0).any()


@settings(deadline=None)
@given(operations(), SEED)
def test_rows_of_a_shift_invariant_operation_have_a_gradient_that_sums_to_zero(operation, seed):
    op, backward, inputs = operation
    assume(backward in (ops.layernorm_backward, ops.log_softmax_backward))
    y, cache = op(*inputs)
    dy = np.random.default_rng(seed).normal(size=y.shape)
    gradient = backward(dy, cache)
    dx = gradient[0] if isinstance(gradient, tuple) else gradient
    assert np.abs(dx.sum(axis=-1)).max() <= 1e-13 * max(np.abs(dx).max(), np.abs(dy).max())


@settings(deadline=None)
@given(st.floats(-3, 3), st.integers(2, 5), SEED)
def test_a_constant_added_to_all_rewards_matters_only_for_an_incomplete_set(constant, V, seed):
    r"""∇J changes by c·Σ∇p over the set, and Σ∇p = 0 when the set holds every outcome: here all V tokens after one prompt."""
    rng = np.random.default_rng(seed)
    z = np.repeat(rng.normal(size=(1, 1, V)), V, axis=0)
    targets, rewards = np.arange(V)[:, None], rng.normal(size=V)

    def gradient(actions, r):
        return expected_reward(z[actions], targets[actions], r[actions])[1].sum(axis=(0, 1))

    for actions in (np.arange(V), np.arange(V - 1)):
        change = gradient(actions, rewards + constant) - gradient(actions, rewards)
        np.testing.assert_allclose(change, constant * gradient(actions, np.ones(V)), atol=1e-14)
    everything = gradient(np.arange(V), np.ones(V))
    np.testing.assert_allclose(everything, 0, atol=1e-15)
    assert np.abs(gradient(np.arange(V - 1), np.ones(V))).max() > 1e-4


@settings(deadline=None)
@given(st.integers(2, 6), SEED)
def test_each_row_of_dlogits_sums_to_zero(V, seed):
    rng = np.random.default_rng(seed)
    z, targets, c = rng.normal(size=(3, 4, V)), rng.integers(V, size=(3, 4)), rng.normal(size=(3, 4))
    _, dlogits = weighted_log_likelihood(z, targets, c)
    assert np.abs(dlogits.sum(axis=-1)).max() < 1e-15 * V


@settings(deadline=None)
@given(SEED)
def test_the_score_has_mean_zero(seed):
    theta = np.random.default_rng(seed).normal(size=bed.THETA.size)
    np.testing.assert_allclose(bed.pull(lambda z: bed.chances(z)[:, None], theta), 0, atol=1e-15)
