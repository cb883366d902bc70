r"""Live runs of what is no operation and no estimator: the transformer, the objectives, the complex step itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from minillm.lab.differentiate import central_difference, complex_gradient, complex_step
from minillm.lab.standard import random_case
from minillm.lessons.tables import beside, facts, text_columns
from minillm.llama import Llama
from minillm.llama_config import LlamaConfig
from minillm.objectives import cross_entropy, expected_reward, reinforce
from minillm.ops import log_softmax
from minillm.parameters import Parameters

REWARDS = np.array([1.0, 0.0, 0.4])
LOGITS = np.array([[0.3, -0.2, 0.5]])
ACTIONS = np.arange(3)[:, None]  # three actions of one token each


def transformer() -> str:
    """Run a two-layer GPT: loss, and every array's gradient beside its complex step."""
    case = random_case(0, V=5, T=4, B=2, H=2, D=2)
    gradient, C = case.layout(case.gradient(case.theta)), case.config.n_embd
    return "\n\n".join([
        f"{_settings(case.config)}; ids of shape {case.ids.shape}; loss {float(case.loss(case.theta)):.6f}",
        _arrays(gradient, case.layout(complex_gradient(case.loss, case.theta))),
        facts({"gradient of the key bias, the middle third of h.0.attn.c_attn.bias": gradient["h.0.attn.c_attn.bias"][C : 2 * C]}),
    ])  # fmt: skip


def llama() -> str:
    """Run a one-layer Llama in which two heads share keys and values."""
    config = LlamaConfig(
        vocab_size=5, hidden_size=4, intermediate_size=6, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    ids, theta = rng.integers(5, size=(2, 5)), rng.normal(0, 0.4, Parameters(config.shapes()).vector.size)

    def loss(vector: np.ndarray) -> np.generic:
        return cross_entropy(Llama.from_vector(config, vector).forward(ids[:, :-1])[0], ids[:, 1:])[0]

    model = Llama.from_vector(config, theta)
    logits, cache = model.forward(ids[:, :-1])
    gradient = model.backward(cross_entropy(logits, ids[:, 1:])[1], cache)
    exact = complex_gradient(loss, theta)
    layouts = (Parameters(config.shapes(), vector) for vector in (gradient, exact))
    return f"{_settings(config)}; ids of shape (2, 4); loss {float(loss(theta)):.6f}\n\n{_arrays(*layouts)}"


def _settings(config: Any) -> str:
    """What is not as it is by default."""
    known = {field.name: (getattr(config, field.name), field.default) for field in dataclasses.fields(config)}
    return ", ".join(f"{name} {value}" for name, (value, default) in known.items() if value != default)


def _arrays(gradient: Parameters, exact: Parameters) -> str:
    """A table of all arrays: the lengths of two gradients, and the largest difference of an entry."""
    return text_columns({
        "array": list(gradient),
        "shape": [str(view.shape) for view in gradient.values()],
        "‖gradient‖": [f"{np.linalg.norm(view):10.6f}" for view in gradient.values()],
        "‖complex step‖": [f"{np.linalg.norm(view):14.6f}" for view in exact.values()],
        "largest difference": [f"{np.abs(gradient[name] - exact[name]).max():18.1e}" for name in gradient],
    })  # fmt: skip


def cross_entropy_on_two() -> str:
    """Run the cross-entropy on two positions, one of them ignored."""
    z, targets = np.array([[0.3, -0.2, 0.5], [0.1, 0.2, -0.4]]), np.array([2, -100])
    value, dz = cross_entropy(z, targets)
    return "\n\n".join([
        "Logits z of two positions; targets 2 and -100 (ignored)",
        beside({"z": z, "dz": dz, "complex step": complex_gradient(lambda z: cross_entropy(z, targets)[0], z)}),
        facts({"loss in nats": value, "−log p of token 2": -log_softmax(z)[0][0, 2]}),
    ])  # fmt: skip


def _logits(z: np.ndarray) -> np.ndarray:
    """The same logits for every action, (A, 1, V)."""
    return np.broadcast_to(z, (len(ACTIONS), *z.shape))


def set_and_sample() -> str:
    """Compare the sum over the set with its complex step, with REINFORCE over all samples, and with the two mix-ups."""
    value, by_action = expected_reward(_logits(LOGITS), ACTIONS, REWARDS)
    exact = complex_gradient(lambda z: expected_reward(_logits(z), ACTIONS, REWARDS)[0], LOGITS)
    p = np.exp(log_softmax(LOGITS)[0][0])
    sampled, twice, never = (np.array([weight[i] * _one_sample(i) for i in range(3)]).sum(axis=0) for weight in (p, p * p, np.ones(3)))
    return "\n\n".join([
        f"Three actions of one token, rewards {REWARDS.tolist()}, J = {float(value):.6f}",
        beside({"z": LOGITS, "p": p[None]}),
        beside({"∂J/∂z, summed over the set": by_action.sum(axis=0), "complex step": exact}),
        "The mix-ups: coefficient r·p on actions that were sampled has p twice, coefficient r on the set has it not at all",
        beside({"E[r ∇log p], sampled": sampled, "E[r p ∇log p], sampled: wrong": twice, "Σ r ∇log p, set: wrong": never}),
    ])  # fmt: skip


def _one_sample(i: int) -> np.ndarray:
    return reinforce(LOGITS[None], ACTIONS[[i]], REWARDS[[i]], "none")[1][0]


def surrogate_of_no_meaning() -> str:
    """Show a policy at which the surrogate is 0 and its gradient is not."""
    z, sample = np.zeros((1, 3)), np.array([0, 1, 2, 1])
    value, dz = reinforce(np.broadcast_to(z, (4, 1, 3)), sample[:, None], REWARDS[sample])
    return "\n\n".join([
        f"A uniform policy over three actions with rewards {REWARDS.tolist()}: J = {REWARDS.mean():.4f} of at most {REWARDS.max():.4f}.\n"
        f"A sample of four actions, {sample.tolist()}, leave-one-out baseline:",
        facts({"value of the surrogate (the printed loss)": value, "its gradient by the logits": dz.sum(axis=(0, 1))}),
    ])  # fmt: skip


def steps_compared() -> str:
    """Differentiate one function with many steps, by differences and by complex step."""

    def f(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3)

    x, one = np.array(1.5), np.array(1.0)
    truth = float(complex_step(f, x.astype(np.longdouble), one.astype(np.longdouble)))
    steps = [10.0**-k for k in (1, 2, 4, 6, 8, 10, 12, 20, 100)]
    errors = [[abs(float(how(f, x, one, h)) - truth) / truth for h in steps] for how in (central_difference, complex_step)]
    columns = {"h": [f"{h:.0e}" for h in steps]}
    columns |= {name: [f"{e:.1e}" for e in row] for name, row in zip(("error of the difference", "of the complex step"), errors, strict=True)}
    return f"f(x) = eˣ/√(sin³x + cos³x) at x = 1.5 (Squire & Trapp 1998), f′ = {truth:.15f}; relative errors\n\n{text_columns(columns)}"
