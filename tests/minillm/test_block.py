import dataclasses

import numpy as np
import pytest

from minillm.block import block, block_backward
from minillm.config import ACTIVATIONS
from minillm.ops import attention, gelu_new, layernorm, linear
from minillm.transformer import GPT

B, T = 2, 4
SEES = np.tri(T, dtype=bool)


@pytest.fixture
def parts(random_model):
    model = random_model()
    return model, np.random.default_rng(0).normal(size=(B * T, model.config.n_embd))


def run(model, h, at=None, keep=True):
    return block(h, model.parameters, 1, model.config, (B, T), SEES, at, None, keep)


def test_it_is_attention_and_mlp_added_to_the_stream(parts):
    model, h = parts
    theta, H = model.parameters, model.config.n_head

    def affine(x, name):
        return linear(x, theta[f"h.1.{name}.weight"], theta[f"h.1.{name}.bias"])[0]

    def norm(x, name):
        return layernorm(x, theta[f"h.1.{name}.weight"], theta[f"h.1.{name}.bias"], model.config.layer_norm_epsilon)[0]

    q, k, v = np.split(affine(norm(h, "ln_1"), "attn.c_attn").reshape(B, T, -1), 3, axis=-1)
    heads = [
        attention(*(np.split(x, H, axis=-1)[head][:, None] for x in (q, k, v)), SEES)[0][:, 0] for head in range(H)
    ]
    a = h + affine(np.concatenate(heads, axis=-1).reshape(B * T, -1), "attn.c_proj")
    expected = a + affine(gelu_new(affine(norm(a, "ln_2"), "mlp.c_fc"))[0], "mlp.c_proj")
    np.testing.assert_allclose(run(model, h)[0], expected, rtol=1e-12, atol=1e-13)


def test_the_gradient_of_the_stream_is_its_adjoint(parts, derivative):
    model, h = parts
    rng = np.random.default_rng(1)
    for at in (None, np.array([[1, 1, 3], [0, 2, 2]])):
        y, cache = run(model, h, at)
        u, v = rng.normal(size=y.shape), rng.normal(size=h.shape)
        dh = block_backward(u, cache, model.parameters.like(), 1, (B, T))
        tangent = derivative(lambda x, at=at: run(model, x, at)[0], h, v)
        error = (tangent * u).sum() - (dh * v).sum()
        assert abs(error) < 1e-15 * np.linalg.norm(tangent) * np.linalg.norm(u)


def test_the_gradient_touches_its_own_block_only(parts):
    model, h = parts
    y, cache = run(model, h)
    gradient = model.parameters.like()
    u = np.ones_like(y)
    u.setflags(write=False)
    block_backward(u, cache, gradient, 1, (B, T))
    for name, view in gradient.items():
        assert (view != 0).any() == name.startswith("h.1.")


def test_at_picks_rows_of_the_whole(parts):
    model, h = parts
    h.setflags(write=False)
    at = np.array([[0, 3], [2, 2]])
    whole = run(model, h)[0].reshape(B, T, -1)
    picked, cache = run(model, h, at, keep=False)
    assert cache is None
    np.testing.assert_allclose(picked.reshape(B, 2, -1), np.take_along_axis(whole, at[..., None], axis=1), rtol=1e-13)


OPTIONS = [
    *({"activation_function": name} for name in ACTIVATIONS),
    {"scale_attn_weights": False},
    {"scale_attn_by_inverse_layer_idx": True},
    {"scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True},
]


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_the_gradient_with_each_option(parts, derivative, option):
    model, h = parts
    model = GPT.from_vector(dataclasses.replace(model.config, **option), model.parameters.vector)
    rng = np.random.default_rng(1)
    theta, v = model.parameters.vector, rng.normal(size=model.parameters.vector.size)
    y, cache = run(model, h)
    u, gradient = rng.normal(size=y.shape), model.parameters.like()
    block_backward(u, cache, gradient, 1, (B, T))
    tangent = derivative(lambda x: run(GPT.from_vector(model.config, x), h.astype(x.dtype))[0], theta, v)
    assert abs((tangent * u).sum() - gradient.vector @ v) < 1e-14 * np.linalg.norm(tangent) * np.linalg.norm(u)


def test_each_option_changes_the_output(parts):
    model, h = parts
    outputs = [run(model, h)[0]]
    for option in OPTIONS[1:-1]:  # with D = 4, the two factors of the last option cancel in layer 1
        outputs.append(run(GPT.from_vector(dataclasses.replace(model.config, **option), model.parameters.vector), h)[0])
    for i, one in enumerate(outputs):
        assert all(np.abs(one - other).max() > 1e-5 for j, other in enumerate(outputs) if j != i)
