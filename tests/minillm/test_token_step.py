"""Reading one token with few operations, against the plain forward."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from minillm.config import ACTIVATIONS, GPTConfig
from minillm.decoding import pad, read
from minillm.token_step import TokenStep
from minillm.token_weights import plain, token_weights
from minillm.transformer import GPT


@st.composite
def models(draw):
    heads = draw(st.integers(1, 3))
    config = GPTConfig(
        vocab_size=draw(st.integers(1, 9)), n_positions=12, n_embd=heads * draw(st.integers(1, 4)), n_head=heads,
        n_layer=draw(st.integers(1, 3)), n_inner=draw(st.none() | st.integers(1, 9)), activation_function=draw(st.sampled_from(ACTIVATIONS)),
        scale_attn_weights=draw(st.booleans()), scale_attn_by_inverse_layer_idx=draw(st.booleans()),
        tie_word_embeddings=draw(st.booleans()), value_head=draw(st.booleans()),
    )  # fmt: skip
    model = GPT(config, rng=0, dtype=np.float64)
    model.parameters.vector[...] = np.random.default_rng(draw(st.integers(0, 99))).normal(0, 0.4, model.parameters.vector.size)
    return model


def steps(model, past):
    """The weights as they are, and the plain ones, each over a cache of its own."""
    weights = token_weights(model.parameters, "wte.weight" if model.config.tie_word_embeddings else "lm_head.weight", model.config)
    return [
        (rewritten, copy := past.take(np.arange(len(past.ids))), TokenStep(rewritten, model.config, copy))
        for rewritten in (weights, plain(weights, model.config))
    ]


@given(models(), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 99))
def test_logits_and_cache_are_those_of_the_forward(model, lengths, seed):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(model.config.vocab_size, size=n + 3) for n in lengths]
    past, _ = read(model, *pad([row[:-3] for row in rows]))
    for _, cache, step in steps(model, past):
        for t in range(3):
            logits = step(np.array([row[len(row) - 3 + t] for row in rows]))
            for row, z in zip(rows, logits, strict=True):
                expected, _ = model.forward(row[: len(row) - 2 + t])
                np.testing.assert_allclose(z, expected[-1], rtol=1e-12, atol=1e-12)
        assert cache.lengths.tolist() == [len(row) for row in rows]
        assert all((cache.ids[b, : len(row)] == row).all() for b, row in enumerate(rows))


@given(models(), st.integers(1, 4))
def test_the_cache_holds_what_the_forward_writes(model, B):
    """So a prompt may follow generated tokens. The plain weights scale the queries, not the keys."""
    ids = np.random.default_rng(B).integers(model.config.vocab_size, size=(B, 8))
    past, _ = read(model, ids[:, :3], np.full(B, 3))
    whole, expected = read(model, ids, np.full(B, 8))
    for _, cache, step in steps(model, past):
        for t in range(3, 6):
            step(ids[:, t])
        np.testing.assert_allclose(cache.keys[..., :6], whole.keys[..., :6], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(cache.values[:, :, :, :6], whole.values[:, :, :, :6], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(read(model, ids[:, 6:], np.full(B, 2), cache)[1], expected, rtol=1e-12, atol=1e-12)


def test_a_row_does_not_depend_on_its_neighbours(random_model):
    model = random_model(n_positions=16)
    prompts = [np.random.default_rng(n).integers(7, size=n) for n in (2, 7, 4)]
    past, _ = read(model, *pad(prompts))
    past.keys[0, 2, ..., 4:], past.values[0, 2, :, 4:] = np.nan, 1e9  # beyond row 2: of no concern to anybody
    past.keys[:, 0], past.values[:, 0] = 3, np.inf
    with np.errstate(invalid="ignore"):
        logits = model.token_step(past)(np.array([1, 2, 3]))
    assert np.isnan(logits[0]).all()
    for row, prompt, token in ((1, prompts[1], 2), (2, prompts[2], 3)):
        assert np.abs(logits[row] - model.forward(np.append(prompt, token))[0][-1]).max() < 1e-12


@pytest.mark.parametrize("lengths", [(4, 4, 4), (4, 2, 3)])
def test_scores_beyond_the_reach_change_no_bit_of_other_rows(random_model, lengths):
    model = random_model()
    ids = np.random.default_rng(1).integers(7, size=(3, 4))
    logits = []
    for size in (1, 1e4):
        past, _ = read(model, ids, np.array(lengths))
        past.keys[:, 1] *= size
        logits.append(model.token_step(past)(np.array([1, 2, 3])).copy())
    assert ((logits[0] == logits[1]).all(axis=1) == [True, False, True]).all()


@pytest.mark.parametrize("rows", [1, 3])
def test_scores_of_any_size_have_a_softmax(random_model, rows):
    model = random_model()
    model.parameters["h.0.attn.c_attn.weight"][...] *= 1e4
    ids = np.random.default_rng(0).integers(7, size=(rows, 5))
    past, _ = read(model, ids[:, :4], np.full(rows, 4))
    with np.errstate(over="ignore"):
        logits = model.token_step(past)(ids[:, 4])
    expected = model.forward(ids)[0][:, -1]
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(logits, expected, rtol=1e-9)


def test_float32_stays_float32_and_close(random_model):
    model = random_model(dtype=np.float32)
    ids = np.random.default_rng(0).integers(7, size=(3, 5))
    past, _ = read(model, ids[:, :4], np.full(3, 4))
    logits = model.token_step(past)(ids[:, 4])
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, model.astype(np.float64).forward(ids)[0][:, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float64, np.longdouble, np.complex128])
@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_other_dtypes_and_no_epsilon(dtype, epsilon):
    """Complex numbers, and the rule that a constant row is 0 without ε, are left to the forward."""
    model = GPT(GPTConfig(5, 6, 4, 1, 2, layer_norm_epsilon=epsilon), rng=0, dtype=dtype)
    model.parameters["wte.weight"][2] = model.parameters["wpe.weight"][2:4] = 0.25
    ids = np.array([[1, 3, 2, 2]])
    past, _ = read(model, ids[:, :2], np.array([2]))
    step = model.token_step(past)
    assert isinstance(step, TokenStep) == (dtype != np.complex128 and epsilon > 0)
    for t in (2, 3):
        logits = step(ids[:, t])
        assert logits.dtype == dtype
        assert np.abs(logits - model.forward(ids)[0][:, t]).max() < 1e-13
    assert past.lengths.tolist() == [4]


def test_wide_layers_take_the_activation_of_the_forward(random_model, monkeypatch):
    monkeypatch.setattr("minillm.token_step.BLOCK_ELEMENTS", 1)
    model = random_model()
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    past, _ = read(model, ids[:, :2], np.array([2, 2]))
    assert np.abs(model.token_step(past)(ids[:, 2]) - model.forward(ids)[0][:, -1]).max() < 1e-13
