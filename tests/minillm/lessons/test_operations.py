"""Every operation runs live, and its numbers are those of the operation."""

import re

import numpy as np
import pytest

from minillm import ops
from minillm.lessons import operations


def test_all_ten_operations_are_there():
    ten = "attention dropout embedding gelu gelu_new layernorm linear log_softmax relu silu"
    assert set(ten.split()) <= set(operations.names())


@pytest.mark.parametrize("name", operations.names())
def test_backward_and_complex_step_agree(name):
    text = operations.live(name)
    assert float(re.search(r"largest difference of the two +(\S+)", text)[1]) < 1e-14
    assert text.count("complex step") >= 2


def test_a_wrong_backward_is_seen(monkeypatch):
    monkeypatch.setattr(ops, "relu_backward", lambda dy, cache: 2 * dy * cache)
    assert float(re.search(r"largest difference of the two +(\S+)", operations.live("relu"))[1]) > 1


def test_the_facts_of_attention():
    text = operations.live("attention")
    assert "hidden ones are 0    1 0 0" in text
    sums = re.search(r"gradient of a key bias +(\S+) (\S+)", text).groups()
    assert np.abs(np.array(sums, dtype=float)).max() < 1e-15
    assert re.search(r"1/√D, a factor of dq and dk +0.7071", text)
