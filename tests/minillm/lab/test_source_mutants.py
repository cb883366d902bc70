"""Every number and every backward of the operations matters: with any one changed, the 50-digit case or an adjoint test sees it.

The exceptions are numbers that can be any, or belong to rules for rows that the case does not have and to limits beyond which a
sigmoid is 0 or 1 to the last bit; the tests of the operations look at those.
"""

import ast
import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from minillm import Llama, block, llama, llama_block, objectives, ops, sampling, transformer
from minillm.lab import adjoint_error
from minillm.lab.gate_cases import loop_oracle_case
from minillm.lab.standard import block_error
from minillm.pretrained.safetensors import SafeTensors

MODULES = (
    "attention", "embedding", "gelu", "gelu_erf", "grouped_attention", "layernorm", "linear", "log_softmax", "relu", "rmsnorm", "rotary",
    "silu", "swiglu",
)  # fmt: skip
rotary = importlib.import_module("minillm.ops.rotary")  # minillm.ops has a function of that name
USERS = (block, llama, llama_block, objectives, rotary, sampling, transformer, ops)
REPLACED = {*ops.__all__, "rotary_tables", "halves_from_pairs"}
STORED = Path(__file__).parents[2] / "data" / "pretrained" / "llama-grouped"
ZERO_ROW = "rrms[rows, 0] = np.where(zero, 0, 1 / np.sqrt(np.where(zero, 1, mean_square)))"
TOP = "p -= shift(p.real.max(axis=-2, keepdims=True, initial=np.finfo(p.dtype).min))"
SHIFT = "return np.where((top < REACH) & (top > -REACH), 0, top)"
LIES_WITHIN = (
    "return bool(np.maximum.reduce(real, None, initial=0) < REACH and np.minimum.reduce(real, None, initial=0) > -REACH)"
)
FREE = {  # (module, line, which number of the line): whose rule it is
    ("attention", "QUERIES = 64", 0): "the size of a step",
    ("attention", "if Tq == 1:", 0): "the order in memory",
    ("attention", "REACH = 30.0", 0): "the scores that are shifted",
    ("attention", TOP, 0): "the shift of scores beyond the reach",
    ("attention", SHIFT, 0): "any number, which cancels",
    ("attention", LIES_WITHIN, 0): "no scores at all",
    ("attention", LIES_WITHIN, 1): "no scores at all",
    ("embedding", "WRITTEN_OUT = 1 << 14", 0): "how the sum is done",
    ("embedding", "WRITTEN_OUT = 1 << 14", 1): "how the sum is done",
    ("embedding", "(np.ones(len(ids), dy.dtype), ids, np.arange(len(ids) + 1)), shape=(rows, len(ids))", 0): "a sum of many rows",
    ("gelu", "REAL_LIMIT, COMPLEX_LIMIT = 100.0, 21.0", 0): "the limits",
    ("gelu", "REAL_LIMIT, COMPLEX_LIMIT = 100.0, 21.0", 1): "the limits",
    ("gelu_erf", "LIMIT, WIDE_LIMIT, TERMS = 40.0, 10.0, 240", 0): "the limits",
    ("gelu_erf", "LIMIT, WIDE_LIMIT, TERMS = 40.0, 10.0, 240", 1): "the limits",
    ("gelu_erf", "LIMIT, WIDE_LIMIT, TERMS = 40.0, 10.0, 240", 2): "more terms than are needed",
    ("gelu_erf", "return np.where(x.real > -WIDE_LIMIT, 0.5 + x * _density(x) * series, 0)", 1): "beyond the limit",
    ("silu", "COMPLEX_LIMIT = 80.0", 0): "the limits",
    ("layernorm", "if eps == 0:", 0): "a constant row without eps",
    ("layernorm", "variance[variance == 0] = np.inf", 0): "a constant row without eps",
    ("rmsnorm", "zero = mean_square == 0", 0): "a row of zeros without eps",
    ("rmsnorm", ZERO_ROW, 1): "a row of zeros without eps",
    ("rmsnorm", ZERO_ROW, 3): "any positive number: the quotient is not used",
}


def source(module):
    return inspect.getsource(importlib.import_module(f"minillm.ops.{module}"))


def numbers(tree):
    """Each number of a module's source, in the order of the text."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) in (int, float)]
    return sorted(found, key=lambda n: (n.lineno, n.col_offset))


def places():
    """(module, line without its comment, which number of the line, index) of every number."""
    for module in MODULES:
        lines, seen = source(module).splitlines(), []
        for index, node in enumerate(numbers(ast.parse(source(module)))):
            seen.append(node.lineno)
            yield module, lines[node.lineno - 1].partition("  #")[0].strip(), seen.count(node.lineno) - 1, index


def with_another_number(module, index):
    """The operations of a module whose number ``index`` is larger by one, or by a thousandth if it is a float."""
    tree = ast.parse(source(module))
    node = numbers(tree)[index]
    node.value = node.value * 1.001 if isinstance(node.value, float) else node.value + 1
    namespace = {"__name__": f"changed_{module}"}
    exec(compile(tree, module, "exec"), namespace)
    return {name: f for name, f in namespace.items() if name in REPLACED}


def replace(monkeypatch, functions):
    for user in USERS:
        for name, function in functions.items():
            if hasattr(user, name):
                monkeypatch.setattr(user, name, function)


def activation_errors(z):
    """Of the activations that the case does not use: the values in float64 and longdouble, and the adjoint tests."""
    wide = z.astype(np.longdouble)
    expected = {"gelu": z * special.ndtr(z), "relu": np.maximum(z, 0), "silu": z * special.expit(z)}
    for name, value in expected.items():
        yield np.abs(getattr(ops, name)(z)[0] - value).max()
        yield np.abs(getattr(ops, name)(wide)[0] - value).max()
        yield np.abs(getattr(ops, name)(wide)[1] - getattr(ops, name)(z)[1]).max()
        yield 100 * adjoint_error(getattr(ops, name), getattr(ops, f"{name}_backward"), [z], rng=0)


def llama_errors():
    """Logits and gradient of a stored Llama against the framework's, and the order of halves."""
    model, stored = Llama.from_pretrained(STORED, dtype=np.float64), SafeTensors(STORED / "oracle.safetensors")
    logits, cache = model.forward(stored["input_ids"])
    _, kept = ops.log_softmax(logits)
    gradient = model.backward(ops.log_softmax_backward(stored["upstream"], kept), cache)
    expected = np.concatenate([stored[f"gradient.{name}"].reshape(-1) for name in model.parameters])
    yield np.abs(logits / stored["logits"] - 1).max() / 10
    yield np.abs(gradient - expected).max() / np.abs(expected).max()
    yield np.abs(rotary.halves_from_pairs(np.arange(16.0).reshape(8, 2), 2)[:, 1] // 2 - [0, 2, 1, 3, 4, 6, 5, 7]).max()


def is_seen():
    case, loss, gradient = loop_oracle_case()
    try:
        off = abs(case.loss(case.theta) / loss - 1), block_error(case.gradient(case.theta), case.layout(gradient))
        z = np.random.default_rng(0).normal(size=(3, 4))
        adjoint = adjoint_error(ops.log_softmax, ops.log_softmax_backward, [z], rng=0)
        off += (*activation_errors(z), *llama_errors())
    except (ValueError, IndexError, TypeError):  # another axis or shape that does not fit
        return True
    return not (max(off) < 1e-13 and adjoint < 1e-15)


def test_nothing_is_seen_when_nothing_is_changed(monkeypatch):
    assert not is_seen()
    for module in MODULES:
        namespace = {"__name__": module}
        exec(compile(source(module), module, "exec"), namespace)
        replace(monkeypatch, {name: f for name, f in namespace.items() if name in REPLACED})
    assert not is_seen()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("place", list(places()), ids=lambda place: f"{place[0]}-{place[3]}")
def test_a_changed_number_is_seen(monkeypatch, place):
    module, line, which, index = place
    replace(monkeypatch, with_another_number(module, index))
    assert is_seen() != ((module, line, which) in FREE), f"number {which} of {line!r} in minillm/ops/{module}.py"


def test_the_exceptions_are_in_the_source():
    assert FREE.keys() <= {place[:3] for place in places()}


@pytest.mark.parametrize("name", [name for name in ops.__all__ if name.endswith("_backward")])
def test_a_deleted_backward_is_seen(monkeypatch, name):
    backward = getattr(ops, name)

    def nothing(dy, cache, out=None):
        gradients = backward(dy, cache)
        for place in out if isinstance(out, tuple) else ():
            if place is not None:
                place[...] = 0
        return tuple(0 * g for g in gradients) if isinstance(gradients, tuple) else 0 * gradients

    replace(monkeypatch, {name: nothing})
    assert is_seen()
