"""`minillm explain`."""

import re

import pytest

from minillm.cli import main
from minillm.lessons import contents


def test_it_lists_and_explains(capsys):
    assert main(["explain"]) == 0
    assert capsys.readouterr().out == contents() + "\n"
    assert main(["explain", "relu"]) == 0
    assert "max(x, 0)" in capsys.readouterr().out


def test_an_unknown_name_is_one_line(fails):
    assert "did you mean rloo" in fails("explain", "rlo")


@pytest.fixture
def words(capsys):
    """Return a function from a name to what `minillm explain NAME` prints, with single spaces."""

    def printed(name):
        assert main(["explain", name]) == 0
        return " ".join(capsys.readouterr().out.split())

    return printed


def test_where_the_root_of_d_is_in_the_backward(words):
    text = words("attention")
    assert "Q̄ = c S̄ K, K̄ = c S̄ᵀQ, c = 1/√D (8)" in text
    assert "The factor 1/√D appears in the backward as it does in the forward, once on each way: in Q̄ and in K̄, not in V̄" in text
    assert "(c,) = constants(q.dtype, 1 / math.sqrt(q.shape[-1])) # (8) 1/√D" in text
    assert "ds *= c # (8), for both" in text


def test_why_the_key_bias_has_no_gradient(words):
    text = words("attention")
    assert "The key bias has no gradient. A bias b added to all keys" in text
    assert "the softmax of a row does not change when a constant is added to it" in text
    measured = re.search(r"gradient of a key bias (\S+) (\S+) ", text).groups()
    assert max(map(abs, map(float, measured))) < 1e-15


def test_what_reinforce_leave_one_out_estimates(words):
    text = words("REINFORCE-LOO")
    assert text.startswith("rloo ==== estimates ∇J ")
    assert "It estimates ∇J itself, without bias, for every group size G ≥ 2" in text
    assert "which are drawn independently" in text
    assert float(re.search(r"E\[ĝ\] against ∇J ‖E\[ĝ\] − ∇J‖/‖∇J‖ = (\S+),", text)[1]) < 1e-12


def test_why_grpo_does_not_estimate_the_gradient(words):
    text = words("grpo")
    assert text.startswith("grpo ==== estimates no gradient of any function ")
    assert "Why GRPO does not estimate ∇J." in text
    assert "2. The length |oᵢ|." in text
    assert "3. The standard deviation is computed from the same rewards." in text
    assert float(re.search(r"asymmetry of the Jacobian of E\[ĝ\] (\S+): not 0", text)[1]) > 0.1


def test_what_surprises_is_explained(words):
    assert "The derivative of the mean inside the variance, which readers often miss, is identically zero" in words("layernorm")
    assert "The mask comes after the scaling and by selection" in words("attention")
    assert "A policy-gradient loss near zero means nothing." in words("reinforce")
    assert "Repeated ids add up" in words("embedding")
