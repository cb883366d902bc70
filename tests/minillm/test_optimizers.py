import math

import numpy as np
import pytest

from minillm import threads
from minillm.errors import NonFiniteError, UserError
from minillm.optimizers import SGD, AdamW, clip_by_global_norm, decay_groups, require_finite, require_finite_update, warmup_cosine
from minillm.parameters import Parameters

SHAPES = {"wte.weight": (3, 2), "ln_f.weight": (2,), "ln_f.bias": (2,), "h.0.attn.c_attn.weight": (2, 6)}


def theta(values=None, dtype=np.float64):
    parameters = Parameters(SHAPES, dtype=dtype)
    if values is not None:
        parameters.vector[...] = values
    return parameters


def loop_adamw(w, gradients, lr, betas, eps, decay):
    """One scalar parameter, the algorithm line by line."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        w = w - lr * decay * w - lr * (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
    return w


def test_sgd_steps_against_the_gradient():
    parameters = theta(1.0)
    optimizer = SGD(parameters, lr=0.5)
    optimizer.step(np.full(24, 2.0)[: parameters.vector.size])
    assert (parameters["wte.weight"] == 0).all()
    optimizer.step(np.ones(parameters.vector.size), lr=0.25)
    assert (parameters.vector == -0.25).all()


def test_adamw_equals_the_loop():
    rng = np.random.default_rng(0)
    parameters = theta()
    size = parameters.vector.size
    start, gradients = rng.normal(size=size), rng.normal(size=(7, size))
    parameters.vector[...] = start
    optimizer = AdamW(parameters, 0.1, (0.8, 0.9), 1e-3, 0.2)
    for g in gradients:
        optimizer.step(g)
    decay = [0.2 if view.ndim == 2 else 0 for view in parameters.values() for _ in range(view.size)]
    expected = [loop_adamw(start[i], gradients[:, i], 0.1, (0.8, 0.9), 1e-3, decay[i]) for i in range(size)]
    np.testing.assert_allclose(parameters.vector, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("g", [1e-3, -5.0])
def test_the_first_adam_step_moves_by_about_lr(dtype, g):
    parameters = theta(dtype=dtype)
    AdamW(parameters, lr=0.01, weight_decay=0).step(np.full(parameters.vector.size, g, dtype))
    np.testing.assert_allclose(parameters.vector, -0.01 * np.sign(g), rtol=2e-5)


def test_without_a_gradient_only_the_decay_acts():
    parameters = theta(2.0)
    optimizer = AdamW(parameters, lr=0.5, weight_decay=0.1)
    optimizer.step(np.zeros(parameters.vector.size))
    assert (parameters["wte.weight"] == 1.9).all()
    assert (optimizer.m == 0).all()
    assert (optimizer.v == 0).all()


def test_gains_and_biases_do_not_decay_and_each_parameter_is_in_one_group(random_model):
    model = random_model()
    optimizer = AdamW(model.parameters, lr=0.5, weight_decay=0.1)
    start = model.parameters.vector.copy()
    optimizer.step(np.zeros_like(start))
    for name, view in model.parameters.items():
        before = start[model.parameters.slices[name]].reshape(view.shape)
        if name.endswith("bias") or "ln_" in name:
            assert (view == before).all()
        else:
            np.testing.assert_allclose(view, 0.95 * before, rtol=1e-15)


def test_a_tied_head_has_one_state(random_model):
    model = random_model(tied=True)
    optimizer = AdamW(model.parameters)
    assert optimizer.m.shape == optimizer.v.shape == (sum(view.size for view in model.parameters.values()),)
    assert "lm_head.weight" not in list(model.parameters)


@pytest.mark.parametrize(
    "option", [{"lr": 0.02}, {"betas": (0.5, 0.999)}, {"betas": (0.9, 0.5)}, {"eps": 0.1}, {"weight_decay": 0.5}]
)
def test_every_option_changes_a_number(option):
    moved = []
    for options in ({}, option):
        parameters = theta(1.0)
        optimizer = AdamW(parameters, **options)
        for scale in (1.0, 3.0):
            optimizer.step(np.full(parameters.vector.size, scale))
        moved.append(parameters.vector.copy())
    assert (moved[0] != moved[1]).any()


def test_the_rate_of_a_step_replaces_the_first_one():
    one, other = theta(1.0), theta(1.0)
    g = np.ones(one.vector.size)
    AdamW(one, lr=0.1).step(g)
    AdamW(other, lr=0.7).step(g, lr=0.1)
    assert (one.vector == other.vector).all()


def test_a_step_writes_into_the_parameters_and_not_into_the_gradient():
    parameters = theta(1.0)
    g = np.ones(parameters.vector.size)
    g.setflags(write=False)
    view = parameters["ln_f.bias"]
    AdamW(parameters, lr=0.1).step(g)
    assert (view < 1).all()
    SGD(parameters, lr=0.1).step(g)


def test_blocks_of_a_long_vector_make_no_difference():
    rng = np.random.default_rng(0)
    size = (1 << 15) * 2 + 17
    long, g = Parameters({"w": (size, 1)}, rng.normal(size=size)), rng.normal(size=size)
    short = Parameters({"w": (5, 1)}, long.vector[-5:].copy())
    AdamW(long).step(g)
    AdamW(short).step(g[-5:])
    assert (long.vector[-5:] == short.vector).all()


@pytest.mark.parametrize("lr", [-1e-9, math.nan, math.inf])
@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_rate_that_is_negative_or_not_finite_is_an_error(optimizer, lr):
    with pytest.raises(UserError, match=f"lr must be finite and at least 0, got {lr}"):
        optimizer(theta(), lr)


def test_clipping_leaves_a_short_gradient_and_scales_a_long_one():
    g = np.array([3.0, 4.0])
    assert clip_by_global_norm(g, 5.0) == 5
    assert g.tolist() == [3, 4]
    assert clip_by_global_norm(g, 1.0) == 5
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-15)


def test_clipping_zeros_gives_zeros():
    g = np.zeros(4, np.float32)
    assert clip_by_global_norm(g, 1.0) == 0
    assert (g == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_one_entry_that_is_not_finite_is_an_error_and_nothing_is_scaled(dtype, bad):
    g = np.array([1, bad, 2], dtype)
    with pytest.raises(NonFiniteError, match=r"the norm of the gradient is (inf|nan)"):
        clip_by_global_norm(g, 1.0)
    assert g[0] == 1
    assert g[2] == 2


def test_a_norm_that_overflows_is_the_same_error_without_a_warning():
    g = np.full(4, 1e30, np.float32)
    with pytest.raises(NonFiniteError, match="the norm of the gradient is inf"):
        clip_by_global_norm(g, 1.0)
    assert (g == np.float32(1e30)).all()


def test_what_is_not_finite_is_named_with_array_index_and_step():
    parameters, g = theta(), np.zeros(22)
    g[8], g[9] = np.nan, np.inf
    with pytest.raises(
        NonFiniteError, match=r"the gradient of ln_f.bias is nan at index \(0,\) in step 7: of its 2 entries 1 are NaN and 1 infinite$"
    ):
        require_finite("the gradient", parameters, g, 7)
    require_finite("the gradient", parameters, np.zeros(22), 7)


def test_an_update_is_finite_if_each_number_is_though_the_sum_is_not():
    parameters, g = theta(dtype=np.float32), np.full(22, 3e38, np.float32)
    require_finite_update(parameters, 0.5, g, 7)
    with pytest.raises(NonFiniteError, match="the loss is nan in step 7, and all parameters and gradients are finite"):
        require_finite_update(parameters, math.nan, g, 7)
    g[0] = np.nan
    with pytest.raises(NonFiniteError, match=r"the gradient of wte.weight is nan"):
        require_finite_update(parameters, 0.5, g, 7)


def test_the_schedule_rises_then_falls():
    rates = [warmup_cosine(step, 4, 20, 1.0, 0.1) for step in range(24)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1
    assert rates[12] == pytest.approx(0.55)
    assert rates[20:] == [0.1] * 4
    assert (np.diff(rates[4:21]) < 0).all()


def test_a_schedule_that_is_all_warmup_is_finite():
    for step in range(11):
        assert 0 < warmup_cosine(step, 10, 10, 1.0) <= 1
    assert warmup_cosine(10, 10, 10, 1.0) == 1
    assert warmup_cosine(0, 0, 0, 1.0) == 1
    assert warmup_cosine(0, 0, 5, 1.0) == 1


def test_each_parameter_is_in_exactly_one_decay_group_and_matrices_decay():
    matrices, vectors = decay_groups(theta())
    assert matrices == ["wte.weight", "h.0.attn.c_attn.weight"]
    assert vectors == ["ln_f.weight", "ln_f.bias"]
    assert AdamW(theta()).decaying == [slice(0, 6), slice(10, 22)]


def test_a_parameter_that_is_neither_matrix_nor_vector_is_not_passed_over():
    with pytest.raises(AssertionError, match="in no group"):
        decay_groups(Parameters(SHAPES | {"temperature": ()}))


def test_the_number_of_cores_changes_no_bit(monkeypatch):
    rng = np.random.default_rng(0)
    size = threads.MANY_NUMBERS + 3
    start, g = rng.normal(size=(2, size)).astype(np.float32)
    results = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(threads, "_cores", lambda cores=cores: cores)
        parameters = Parameters({"w": (size, 1)}, start.copy())
        optimizer = AdamW(parameters)
        optimizer.step(g)
        optimizer.step(g)
        results.append(parameters.vector.tobytes())
    assert len(set(results)) == 1
