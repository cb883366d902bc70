"""The live runs of the model, the objectives and the complex step."""

import re

import numpy as np

from minillm.lessons import models


def numbers(text):
    return np.array(re.findall(r"-?\d+\.\d+", text), dtype=float)


def test_transformer():
    text = models.transformer()
    differences = re.findall(r"(\S+)$", text.split("largest difference\n")[1].split("\n\n")[0], flags=re.MULTILINE)
    assert len(differences) == 28
    assert max(map(float, differences)) < 1e-13
    assert np.abs(np.array(re.search(r"key bias.*c_attn.bias +(.*)", text)[1].split(), dtype=float)).max() < 1e-15


def test_llama():
    text = models.llama()
    assert "num_attention_heads 2, num_key_value_heads 1;" in text
    rows = text.split("largest difference\n")[1].split("\n")
    assert len(rows) == 12
    assert max(float(row.split()[-1]) for row in rows) < 1e-13


def test_cross_entropy():
    _, loss, minus_log_p = re.split(r"loss in nats|−log p of token 2", models.cross_entropy_on_two())
    assert float(loss) == float(minus_log_p) > 0


def test_set_and_sample():
    text = models.set_and_sample()
    exact, complex_step = np.split(numbers(text.split("complex step\n")[1].split("\n\n")[0]), 2)
    right, twice, never = np.split(numbers(text.split("wrong\n")[-1]), 3)
    np.testing.assert_array_equal(exact, complex_step)
    np.testing.assert_array_equal(exact, right)
    assert np.abs(twice - right).max() > 0.1
    assert np.abs(never - right).max() > 0.1


def test_a_loss_of_zero_with_a_gradient():
    text = models.surrogate_of_no_meaning()
    assert re.search(r"the printed loss\) +0\n", text)
    assert np.abs(numbers(text.split("by the logits")[1])).max() > 0.1


def test_steps():
    last = models.steps_compared().split("\n")[-1].split()
    assert last[1:] == ["1.0e+00", "0.0e+00"]
