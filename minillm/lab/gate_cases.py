"""Inputs of the gates: operations with ordinary and extreme arguments, the loop oracle's case, small exact worlds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from minillm import ops
from minillm.config import GPTConfig
from minillm.lab import differentiate
from minillm.lab.exact import expected_return, expected_return_gradient
from minillm.lab.standard import Case
from minillm.ops.rotary import rotary_tables
from minillm.parameters import Parameters
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT
from minillm.worlds import load_envs

LOOP_ORACLE = Path(__file__).with_name("loop_oracle.json")
IDS = np.array([3, 0, 3, 1, 3])
CAUSAL = np.tri(6, dtype=bool)


def _normal(*shapes: tuple[int, ...], scale: float = 1.0) -> Any:
    return lambda rng: [scale * rng.normal(size=shape) for shape in shapes]


def _layernorm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, tuple]:
    return ops.layernorm(x, weight, bias, 1e-5)


def _causal(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, tuple]:
    return ops.attention(q, k, v, CAUSAL)


def _rmsnorm(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, tuple]:
    return ops.rmsnorm(x, weight, 1e-5)


def _rotary(x: np.ndarray) -> tuple[np.ndarray, tuple]:
    return ops.rotary(x, *rotary_tables(np.arange(6), x.shape[-1], 100.0, x.dtype))


def _grouped(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, tuple]:
    return ops.grouped_attention(q, k, v, CAUSAL)


ADJOINT = {
    "linear": (ops.linear, ops.linear_backward, _normal((7, 5), (5, 3), (3,))),
    "embedding": (lambda W: ops.embedding(IDS, W), ops.embedding_backward, _normal((6, 4))),
    "layernorm": (_layernorm, ops.layernorm_backward, _normal((7, 5), (5,), (5,))),
    "gelu_new": (ops.gelu_new, ops.gelu_new_backward, _normal((7, 5))),
    "gelu": (ops.gelu, ops.gelu_backward, _normal((7, 5))),
    "relu": (ops.relu, ops.relu_backward, _normal((7, 5))),
    "silu": (ops.silu, ops.silu_backward, _normal((7, 5))),
    "attention": (_causal, ops.attention_backward, _normal(*[(2, 2, 6, 3)] * 3)),
    "log_softmax": (ops.log_softmax, ops.log_softmax_backward, _normal((7, 5))),
    "rmsnorm": (_rmsnorm, ops.rmsnorm_backward, _normal((7, 5), (5,))),
    "rotary": (_rotary, ops.rotary_backward, _normal((2, 2, 6, 4))),
    "swiglu": (ops.swiglu, ops.swiglu_backward, _normal((7, 5), (7, 5))),
    "grouped_attention": (_grouped, ops.grouped_attention_backward, _normal((2, 4, 6, 3), (2, 2, 6, 3), (2, 2, 6, 3))),
}
EXTREME = {
    "layernorm of rows near 1000": (
        _layernorm, ops.layernorm_backward, lambda rng: [1000 + rng.normal(size=(7, 5)), *rng.normal(size=(2, 5))],
    ),
    "gelu_new, |x| to 30": (ops.gelu_new, ops.gelu_new_backward, _normal((7, 5), scale=10.0)),
    "gelu, |x| to 30": (ops.gelu, ops.gelu_backward, _normal((7, 5), scale=10.0)),
    "silu, |x| to 30": (ops.silu, ops.silu_backward, _normal((7, 5), scale=10.0)),
    "attention, scores to 300": (_causal, ops.attention_backward, _normal(*[(2, 2, 6, 3)] * 3, scale=10.0)),
    "rmsnorm of rows near 1000": (_rmsnorm, ops.rmsnorm_backward, lambda rng: [1000 + rng.normal(size=(7, 5)), rng.normal(size=5)]),
    "swiglu, |x| to 30": (ops.swiglu, ops.swiglu_backward, _normal((7, 5), (7, 5), scale=10.0)),
    "log_softmax, logits to 300": (ops.log_softmax, ops.log_softmax_backward, _normal((7, 5), scale=100.0)),
}  # fmt: skip


def loop_oracle_case() -> tuple[Case, float, np.ndarray]:
    """Return the case, loss and gradient that ``tests/minillm/lab/test_loop_oracle.py`` computed with 50 digits."""
    stored = json.loads(LOOP_ORACLE.read_text(encoding="utf-8"))
    theta, ids, targets, upstream = (np.array(stored[name]) for name in ("theta", "ids", "targets", "upstream"))
    return Case(GPTConfig(**stored["config"]), theta, ids, targets, upstream), stored["loss"], np.array(stored["gradient"])


def small_model(vocab_size: int, n_positions: int, seed: int) -> GPT:
    """Return a two-layer float64 model with random gains and biases."""
    config = GPTConfig(vocab_size=vocab_size, n_positions=n_positions, n_embd=4, n_layer=2, n_head=2)
    parameters = Parameters(config.shapes())
    parameters.vector[:] = np.random.default_rng(seed).normal(0, 0.4, parameters.vector.size)
    return GPT.from_vector(config, parameters.vector)


def exact_gradient_error(name: str) -> float:
    """Return the error of ∇J along 3 random directions, relative to ‖∇J‖·‖v‖, in an environment with a table."""
    mdp = load_envs().exact(name)
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts])
    longest = max(map(len, mdp.state_texts)) + max(map(len, mdp.action_texts)) + 1
    model = small_model(tokenizer.vocab_size, longest, seed=3)
    theta = model.parameters.vector

    def J(vector: np.ndarray) -> np.generic:
        return expected_return(GPT.from_vector(model.config, vector), tokenizer, mdp)

    _, gradient = expected_return_gradient(model, tokenizer, mdp)
    errors = []
    for v in np.random.default_rng(4).normal(size=(3, theta.size)):
        error = abs(float(differentiate.complex_step(J, theta, v) - gradient @ v))
        errors.append(error / float(np.linalg.norm(gradient) * np.linalg.norm(v)))
    return max(errors)
