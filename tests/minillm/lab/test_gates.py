"""Every gate holds, and a gate can fail."""

import sys

import numpy as np
import pytest

from minillm.kv_cache import KeyValueCache
from minillm.lab import gates
from minillm.lab.mutants import transformer as wrong
from minillm.lab.standard import random_case
from minillm.ops import attention
from minillm.transformer import GPT


@pytest.fixture(scope="module")
def rows():
    seen = []
    rows = gates.run(seen.append)
    assert seen == rows
    return rows


def test_every_gate_holds(rows):
    failing = [row for row in rows if not row.ok]
    assert not failing, gates.table(failing)


@pytest.mark.parametrize(
    ("part", "bound"),
    [
        ("worst block, tied head", 1e-13),
        ("one random direction", 1e-14),
        ("adjoint test, attention", 1e-15),
        ("adjoint test at extremes", 1e-14),
        ("50-digit loops", 1e-13),
        ("Hessian–vector product against longdouble", 1e-13),
        ("Hessian–vector product, symmetry", 1e-13),
        ("float32 backward against float64, overall", 1e-5),
        ("float32 backward against float64, worst block", 3e-5),
        ("exact ∇J", 1e-13),
        ("enumerated bias of reinforce", 1e-12),
        ("enumerated bias of training.coefficients", 1e-12),
        ("key-bias", 1e-15),
        ("later token", 0),
        ("decoding with a cache", 1e-13),
        ("micro-batches", 1e-13),
        ("mutants that survive", 0),
        ("controls", 0),
    ],
)
def test_the_gates_of_the_design_are_there_with_their_bounds(rows, part, bound):
    found = [row for row in rows if part in row.gate]
    assert found
    assert all(row.bound == bound for row in found)


def test_a_measured_value_above_the_bound_or_none_at_all_fails():
    assert gates.Gate("x", 1.0, 1.0).ok
    assert not gates.Gate("x", 1.1, 1.0).ok
    assert not gates.Gate("x", np.nan, 1.0).ok
    assert gates.Gate("x", 0.5, 1.0).row() == {"gate": "x", "measured": 0.5, "bound": 1.0, "ok": True}
    assert "FAILS" in gates.table([gates.Gate("x", np.nan, 1.0)])


@pytest.mark.parametrize("measure", [gates.backward_against_complex_step, gates.against_the_loops])
def test_a_wrong_constant_in_a_backward_fails_the_gates(monkeypatch, measure):
    function = {id: f for id, _, f in wrong.LAYERNORM}["eps"]
    monkeypatch.setattr("minillm.block.layernorm_backward", wrong.writing(function))
    assert any(not gates.Gate(*row).ok for row in measure())


def test_the_influence_of_a_token_on_its_own_logits_is_seen(monkeypatch):
    everything = slice(None), slice(None), slice(None), np.full((1, 1), np.inf)
    monkeypatch.setattr(sys.modules[attention.__module__], "_causal_steps", lambda *of: [everything])
    case = random_case(0)
    assert gates.later_on_earlier(case) > 1e-3
    assert gates.padding_influence(case) > 1e-3


def test_a_cache_that_forgets_is_seen(monkeypatch):
    writer = KeyValueCache.writer

    def forgetful(self, layer, T):
        write = writer(self, layer, T)

        def forget(k, v):
            keys, values = write(k, v)
            return 0 * keys, values

        return forget

    monkeypatch.setattr(KeyValueCache, "writer", forgetful)
    assert gates.cached_decoding_error(random_case(0)) > 1e-3


def test_the_float32_gate_sees_half_precision(monkeypatch):
    backward = GPT.backward
    monkeypatch.setattr(GPT, "backward", lambda self, d, c: backward(self, d, c).astype(np.float16).astype(d.dtype))
    assert any(not gates.Gate(*row).ok for row in [*gates.backward_against_complex_step()])
