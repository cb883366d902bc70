"""The whole model: its gradient by complex step, causality, dtypes."""

import dataclasses

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.transformer import GPT

IDS = np.array([[1, 3, 3, 0, 5], [2, 1, 1, 1, 6]])  # repeated tokens; 6 pads
AT = {"all": None, "some": np.array([[1, 3], [0, 4]]), "repeated": np.array([[2, 2, 4], [0, 3, 0]])}


def upstream(model, at, ids=IDS, seed=5):
    rows = ids.shape if at is None else at.shape
    return np.random.default_rng(seed).normal(size=(*rows, model.config.vocab_size))


def loss_of(model, u, at, ids=IDS):
    """L(θ) = Σ u·z(θ): its gradient is the backward of the upstream u."""
    return lambda theta: (GPT.from_vector(model.config, theta).forward(ids, at=at)[0] * u).sum()


def gradient(model, u, at=None, ids=IDS):
    return model.backward(u, model.forward(ids, at=at)[1])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("at", AT.values(), ids=AT)
def test_backward_equals_the_complex_step_in_every_parameter(random_model, gradient_of, worst_block, tied, at):
    model = random_model(tied=tied)
    u = upstream(model, at)
    reference = gradient_of(loss_of(model, u, at), model.parameters.vector)
    assert worst_block(model, gradient(model, u, at), reference) < 1e-13


@pytest.mark.parametrize("std", [0.1, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_backward_along_a_random_direction(random_model, derivative, std, seed):
    model = random_model(std=std, seed=seed, n_layer=3, n_head=4)
    u, v = upstream(model, None), np.random.default_rng(seed).normal(size=model.parameters.vector.size)
    g = gradient(model, u)
    error = g @ v - derivative(loss_of(model, u, None), model.parameters.vector, v)
    assert abs(error) < 1e-14 * np.linalg.norm(g) * np.linalg.norm(v)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("at", AT.values(), ids=AT)
def test_hessian_vector_products_through_the_backward_are_symmetric(random_model, derivative, tied, at):
    model = random_model(tied=tied)
    u = upstream(model, at)
    v, w = np.random.default_rng(1).normal(size=(2, model.parameters.vector.size))

    def hessian_times(direction):
        return derivative(
            lambda theta: gradient(GPT.from_vector(model.config, theta), u, at), model.parameters.vector, direction
        )

    Hv, Hw = hessian_times(v), hessian_times(w)
    assert abs(w @ Hv - v @ Hw) < 1e-13 * np.linalg.norm(Hv) * np.linalg.norm(w)
    assert np.linalg.norm(Hv) > 1


def test_a_hessian_vector_product_is_the_slope_of_the_gradient(random_model, derivative):
    model = random_model(dtype=np.longdouble)
    u, v = upstream(model, None), np.random.default_rng(1).normal(size=model.parameters.vector.size)
    h = np.longdouble(1e-6)
    plus, minus = (gradient(GPT.from_vector(model.config, model.parameters.vector + s * h * v), u) for s in (1, -1))
    slope = (plus - minus) / (2 * h)
    model = model.astype(np.float64)
    Hv = derivative(lambda theta: gradient(GPT.from_vector(model.config, theta), u), model.parameters.vector, v)
    assert np.abs(Hv - slope).max() < 1e-9 * np.abs(Hv).max()  # what differences of step 1e-6 can tell


def test_float32_backward_is_close_to_float64(random_model, worst_block):
    model = random_model(std=0.3)
    narrow = model.astype(np.float32)
    u = upstream(model, None)
    g32 = gradient(narrow, u.astype(np.float32))
    g64 = gradient(narrow.astype(np.float64), u.astype(np.float32).astype(np.float64))
    assert g32.dtype == np.float32
    assert np.linalg.norm(g32 - g64) < 1e-5 * np.linalg.norm(g64)
    assert worst_block(model, g32, g64) < 3e-5


@pytest.mark.parametrize("at", AT.values(), ids=AT)
def test_the_gradient_of_the_key_bias_is_zero(random_model, at):
    model = random_model()
    g = gradient(model, upstream(model, at), at)
    C = model.config.n_embd
    for layer in range(model.config.n_layer):
        view = model.parameters.like(g)[f"h.{layer}.attn.c_attn.bias"]
        assert np.abs(view[C : 2 * C]).max() < 1e-15 * np.abs(g).max()
        assert np.abs(view[:C]).max() > 1e-6 * np.abs(g).max()  # the query bias is not


def test_a_tied_entry_gets_the_sum_of_both_uses(random_model):
    tied = random_model()
    shapes = tied.config.shapes()
    untied_config = dataclasses.replace(tied.config, tie_word_embeddings=False)
    vector = np.concatenate([tied.parameters.vector, tied.parameters["wte.weight"].ravel()])
    untied = GPT.from_vector(untied_config, vector)
    u = upstream(tied, None)
    assert (untied.forward(IDS)[0] == tied.forward(IDS)[0]).all()
    both, apart = gradient(tied, u), untied.parameters.like(gradient(untied, u))
    np.testing.assert_allclose(
        tied.parameters.like(both)["wte.weight"], apart["wte.weight"] + apart["lm_head.weight"], rtol=1e-13, atol=1e-13
    )
    assert "lm_head.weight" not in shapes
    assert tied.parameters.vector.size == sum(view.size for view in tied.parameters.values())


@pytest.mark.parametrize("tied", [True, False])
def test_a_later_token_has_no_influence_on_an_earlier_logit(random_model, tied):
    """Exactly 0: perturb the position embedding of t (complex) and of the token that only t holds."""
    model = random_model(tied=tied).astype(np.complex128)
    ids = np.array([[1, 3, 3, 0, 5]])
    for t in range(1, 5):
        theta = model.parameters.like(model.parameters.vector.copy())
        theta["wpe.weight"][t] += 1e-30j * np.random.default_rng(t).normal(size=model.config.n_embd)
        z, _ = GPT.from_vector(model.config, theta.vector).forward(ids)
        assert (z[:, :t].imag == 0).all()
        assert (z[:, t:].imag != 0).any(axis=-1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_changing_a_token_leaves_all_earlier_logits_bit_identical(random_model, dtype):
    model = random_model(dtype=dtype, n_positions=12)
    ids = np.random.default_rng(0).integers(7, size=(3, 12))
    z, _ = model.forward(ids)
    for t in range(12):
        changed = ids.copy()
        changed[:, t] = (changed[:, t] + 1) % 7
        other, _ = model.forward(changed)
        assert (other[:, :t] == z[:, :t]).all()
        assert (other[:, t] != z[:, t]).any()


def test_what_pads_does_not_matter(random_model):
    model = random_model()
    padded, other = IDS.copy(), IDS.copy()
    other[1, 3:] = 0
    u = upstream(model, None)
    u[1, 3:] = 0
    (z, cache), (z_other, cache_other) = model.forward(padded), model.forward(other)
    assert (z[1, :3] == z_other[1, :3]).all()
    difference = model.backward(u, cache) - model.backward(u, cache_other)
    assert np.abs(difference).max() < 1e-14


def test_micro_batches_add_up(random_model):
    model = random_model()
    u = upstream(model, None)
    parts = gradient(model, u[:1], ids=IDS[:1]) + gradient(model, u[1:], ids=IDS[1:])
    np.testing.assert_allclose(gradient(model, u), parts, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tied", [True, False])
def test_at_picks_columns_of_the_full_logits(random_model, tied):
    model = random_model(tied=tied)
    z, _ = model.forward(IDS)
    for at in (AT["some"], AT["repeated"]):
        picked, cache = model.forward(IDS, at=at)
        np.testing.assert_allclose(picked, np.take_along_axis(z, at[:, :, None], axis=1), rtol=1e-13, atol=1e-13)
        u = upstream(model, at)
        spread = np.zeros_like(z)
        np.add.at(spread, (np.arange(2)[:, None], at), u)
        np.testing.assert_allclose(model.backward(u, cache), gradient(model, spread), rtol=1e-11, atol=1e-13)


def test_positions_and_what_is_visible_may_be_given(random_model, derivative):
    model = random_model()
    T = IDS.shape[1]
    plain, _ = model.forward(IDS)
    given, _ = model.forward(IDS, positions=np.tile(np.arange(T), (2, 1)), visible=np.tri(T, dtype=bool)[None, None])
    assert (given == plain).all()
    rng = np.random.default_rng(0)
    positions = rng.integers(6, size=(2, T))
    visible = (rng.random((2, 1, T, T)) < 0.5) | np.eye(T, dtype=bool)
    options = {"positions": positions, "visible": visible}
    order = np.array([3, 0, 4, 1, 2])  # the tokens in another order, with their positions and what they see
    z, cache = model.forward(IDS, **options)
    moved, _ = model.forward(IDS[:, order], positions=positions[:, order], visible=visible[:, :, order][..., order])
    np.testing.assert_allclose(moved, z[:, order], rtol=1e-11, atol=1e-12)
    u = upstream(model, None)

    def loss(theta):
        return (GPT.from_vector(model.config, theta).forward(IDS, **options)[0] * u).sum()

    g = model.backward(u, cache)
    for v in rng.normal(size=(5, g.size)):
        error = g @ v - derivative(loss, model.parameters.vector, v)
        assert abs(error) < 1e-14 * np.linalg.norm(g) * np.linalg.norm(v)


def test_a_position_past_the_last_is_named(random_model):
    with pytest.raises(UserError, match="7 tokens do not fit into n_positions = 6"):
        random_model().forward(IDS, positions=np.full(IDS.shape, 6))


def test_one_layer_alone_with_at(random_model, gradient_of, worst_block):
    model = random_model(n_layer=1)
    u = upstream(model, AT["repeated"])
    reference = gradient_of(loss_of(model, u, AT["repeated"]), model.parameters.vector)
    assert worst_block(model, gradient(model, u, AT["repeated"]), reference) < 1e-13


def test_caches_of_interleaved_forwards_are_kept_apart(random_model):
    model = random_model()
    u, w = upstream(model, None), upstream(model, None, seed=6)
    alone, alone_too = gradient(model, u), gradient(model, w, ids=IDS[::-1].copy())
    _, first = model.forward(IDS)
    _, second = model.forward(IDS[::-1].copy())
    assert (model.backward(u, first) == alone).all()
    assert (model.backward(w, second) == alone_too).all()
    assert (model.backward(u, first) == alone).all()


def test_a_cache_may_be_used_up(random_model):
    model, rng = random_model(), np.random.default_rng(0)
    logits, cache = model.forward(rng.integers(7, size=(2, 6)))
    dlogits = rng.normal(size=logits.shape)
    again = model.backward(dlogits, cache)
    assert (model.backward(dlogits, cache, use_up=True) == again).all()
    assert cache[2] == []  # nothing is left of the blocks
    with pytest.raises(IndexError):
        model.backward(dlogits, cache)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex64, np.complex128])
@pytest.mark.parametrize("at", AT.values(), ids=AT)
def test_the_dtype_goes_in_and_comes_out_and_nothing_is_written_to(random_model, dtype, at):
    model = random_model(dtype=dtype)
    model.parameters.vector.setflags(write=False)
    model = GPT.from_vector(model.config, model.parameters.vector)
    ids = IDS.copy()
    ids.setflags(write=False)
    z, cache = model.forward(ids, at=at)
    u = upstream(model, at).astype(dtype)
    u.setflags(write=False)
    z.setflags(write=False)
    g = model.backward(u, cache)
    assert z.dtype == g.dtype == dtype
    assert g.flags.writeable
    assert not np.shares_memory(g, model.parameters.vector)


def test_one_sequence_is_a_batch_of_one(random_model):
    model = random_model()
    z, cache = model.forward(IDS[0])
    batch, batch_cache = model.forward(IDS[:1])
    assert z.shape == (5, 7)
    assert (z == batch[0]).all()
    u = upstream(model, None)[:1]
    assert (model.backward(u[0], cache) == model.backward(u, batch_cache)).all()
    at = np.array([[4]])
    assert model.forward(IDS[0], at=at)[0].shape == (1, 1, 7)


def test_without_keep_the_logits_are_the_same(random_model):
    model = random_model()
    z, cache = model.forward(IDS, keep=False)
    assert cache == ()
    assert (z == model.forward(IDS)[0]).all()


def test_unused_positions_and_ids_have_gradient_exactly_zero(random_model):
    model = random_model(tied=False)
    g = model.parameters.like(gradient(model, upstream(model, None)))
    assert (g["wpe.weight"][5:] == 0).all()
    assert (g["wte.weight"][4] == 0).all()
    assert (g["wte.weight"][5] != 0).all()
