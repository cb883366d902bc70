import math

import numpy as np
import pytest

from minillm.inspection import attention_weights, loss_by_position, next_characters, parameter_table
from minillm.objectives import IGNORE
from minillm.ops import log_softmax
from minillm.tokenizer import CharTokenizer

IDS = np.array([1, 3, 3, 0, 5])


def test_the_table_names_every_array_and_the_sum(random_model):
    parameters = random_model().parameters
    lines = parameter_table(parameters).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == list(parameters)
    assert lines[-1].split() == ["all", f"{parameters.vector.size:,}"]
    (fc,) = [line.split() for line in lines if line.startswith("h.1.mlp.c_fc.weight")]
    assert fc[1:3] == ["8×12", "96"]
    assert float(fc[3]) == pytest.approx(math.sqrt((parameters["h.1.mlp.c_fc.weight"] ** 2).mean()), abs=1e-4)
    assert [line.split()[-1] for line in lines if ".c_fc." in line] == ["yes", "no"] * 2


def test_the_ledger_is_in_proportion_to_the_batch_and_names_what_must_be_kept(random_model):
    model, B, T = random_model(), 4, 6
    small, large = model.activation_ledger(B, T), model.activation_ledger(2 * B, T)
    assert all(1.9 * size < large[name] <= 2 * size for name, size in small.items() if name.startswith("h."))
    rows, C, M, H = B * T, 8, 12, 2
    block = {
        "ln_1": rows * (C + 1),  # x̂ and r
        "attended": rows * (3 * C + C) + B * H * T * T,  # q, k, v side by side, the output, the weights
        "ln_2": rows * (C + 1),
        "bent": rows * M,  # the derivative
        "mlp_proj": rows * M,
    }  # the input of attn_proj is the output of the attention
    for layer in range(2):
        assert {name: size / 8 for name, size in small.items() if name.startswith(f"h.{layer}.")} == {
            f"h.{layer}.{name}": size for name, size in block.items()
        }


def test_above_the_diagonal_nothing_is_kept(random_model):
    model = random_model(n_positions=256)
    assert model.activation_ledger(1, 256)["h.0.attended"] == 8 * (256 * 4 * 8 + 2 * 64 * (64 + 128 + 192 + 256))


def test_the_loss_by_position_is_the_mean_over_blocks(random_model):
    model = random_model()
    inputs, targets = np.random.default_rng(0).integers(7, size=(2, 5, 6))
    targets[4, 3:] = IGNORE
    log_p, _ = log_softmax(model.forward(inputs)[0])
    for t, loss in enumerate(loss_by_position(model, inputs, targets)):
        rows = [i for i in range(5) if targets[i, t] != IGNORE]
        assert loss == pytest.approx(-np.mean([log_p[i, t, targets[i, t]] for i in rows]), rel=1e-12)


def test_attention_weights_are_distributions_over_the_past(random_model):
    weights = attention_weights(random_model(), IDS)
    assert [w.shape for w in weights] == [(2, 5, 5)] * 2
    for w in weights:
        np.testing.assert_allclose(w.sum(axis=-1), 1, rtol=1e-12)
        assert (w[:, ~np.tri(5, dtype=bool)] == 0).all()


def test_attention_weights_are_those_of_the_first_layers_queries_and_keys(random_model):
    model = random_model()
    theta = model.parameters
    h = theta["wte.weight"][IDS] + theta["wpe.weight"][:5]
    x = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + model.config.layer_norm_epsilon)
    x = x * theta["h.0.ln_1.weight"] + theta["h.0.ln_1.bias"]
    q, k, _ = np.split(x @ theta["h.0.attn.c_attn.weight"] + theta["h.0.attn.c_attn.bias"], 3, axis=-1)
    scores = (q[:, 4:] @ k[:, 4:].T) / 2  # the second head, of width 4
    expected = np.exp(scores) * np.tri(5)
    np.testing.assert_allclose(attention_weights(model, IDS)[0][1], expected / expected.sum(-1, keepdims=True), rtol=1e-10)


def test_the_next_characters_come_in_order_of_their_probability(random_model):
    model = random_model()
    found = list(next_characters(model, CharTokenizer("abcdef"), IDS, 7))
    p = np.exp(log_softmax(model.forward(IDS)[0][-1])[0])
    names = [*"abcdef", "<|endoftext|>"]
    assert [text for text, _ in found] == [names[i] for i in np.argsort(-p)]
    assert [value for _, value in found] == pytest.approx(sorted(p, reverse=True))
    assert list(next_characters(model, CharTokenizer("abcdef"), IDS, 2)) == found[:2]
