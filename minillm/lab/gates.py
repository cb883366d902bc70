"""The gates: what gradients must hold, measured. ``minillm check`` prints these rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minillm.kv_cache import KeyValueCache
from minillm.lab import bias, differentiate, estimators, mutants
from minillm.lab.gate_cases import ADJOINT, EXTREME, exact_gradient_error, loop_oracle_case
from minillm.lab.opcheck import adjoint_error
from minillm.lab.standard import Case, block_error, random_case
from minillm.transformer import GPT

DRAWS = 20
Measurement = Iterator[tuple[str, float, float]]


@dataclasses.dataclass(frozen=True)
class Gate:
    """One row: what was measured, and the bound that it must not exceed."""

    gate: str
    measured: float
    bound: float

    @property
    def ok(self) -> bool:
        """Whether the gate holds; NaN does not."""
        return bool(self.measured <= self.bound)

    def row(self) -> dict[str, Any]:
        """Return ``{gate, measured, bound, ok}``."""
        return {**dataclasses.asdict(self), "ok": self.ok}


def run(on_gate: Callable[[Gate], None] = lambda gate: None) -> list[Gate]:
    """Measure every gate; ``on_gate`` is called with each row as it comes."""
    rows = []
    for measure in GATES:
        for row in measure():
            rows.append(Gate(*row))
            on_gate(rows[-1])
    return rows


def table(rows: list[Gate]) -> str:
    """Return the rows as text: gate, measured, bound."""
    width = max(len(row.gate) for row in rows)
    lines = [f"{'gate':{width}}  measured     bound"]
    lines += [f"{row.gate:{width}}  {row.measured:8.1e}  {row.bound:8.0e}  {'ok' if row.ok else 'FAILS'}" for row in rows]
    return "\n".join(lines)


def backward_against_complex_step() -> Measurement:
    """Every parameter of the standard case, and a random direction of many others."""
    for tied in (True, False):
        case = random_case(0, tied=tied)
        exact = differentiate.complex_gradient(case.loss, case.theta)
        error = block_error(case.gradient(case.theta), case.layout(exact))
        yield f"backward against complex step, worst block, {'tied' if tied else 'untied'} head", error, 1e-13
    yield "one random direction, relative to ‖g‖·‖v‖", max(map(direction_error, range(DRAWS))), 1e-14


def direction_error(seed: int) -> float:
    """Return the error along one random direction of one random case."""
    rng = np.random.default_rng(seed)
    V, T, B, H, D = rng.integers([3, 2, 2, 2, 2], [12, 9, 5, 4, 6])
    case = random_case(rng, V=int(V), T=int(T), B=int(B), H=int(H), D=int(D), tied=bool(seed % 2))
    v, g = rng.normal(size=case.theta.size), case.gradient(case.theta)
    error = abs(float(differentiate.complex_step(case.loss, case.theta, v) - g @ v))
    return error / float(np.linalg.norm(g) * np.linalg.norm(v))


def adjoint_tests() -> Measurement:
    """⟨Jv,u⟩ = ⟨v,Jᵀu⟩ for each operation."""
    for name, (op, backward, make) in ADJOINT.items():
        yield f"adjoint test, {name}", _worst(op, backward, make), 1e-15
    for name, (op, backward, make) in EXTREME.items():
        yield f"adjoint test at extremes, {name}", _worst(op, backward, make), 1e-14


def _worst(op: Any, backward: Any, make: Callable[[np.random.Generator], list]) -> float:
    generators = np.random.default_rng(1).spawn(DRAWS)
    return max(adjoint_error(op, backward, make(rng), rng=rng) for rng in generators)


def against_the_loops() -> Measurement:
    """Loss and gradient of a small case as scalar loops gave them with 50 digits (stored; a test makes them again)."""
    case, loss, gradient = loop_oracle_case()
    yield "loss against 50-digit loops", abs(float(case.loss(case.theta)) / loss - 1), 1e-13
    yield "gradient against 50-digit loops, worst block", block_error(case.gradient(case.theta), case.layout(gradient)), 1e-13


def second_order() -> Measurement:
    """Complex step through the backward pass."""
    case, rng = random_case(0), np.random.default_rng(2)
    u, v = rng.normal(size=(2, case.theta.size))
    Hu, Hv = (differentiate.hessian_vector_product(case.gradient, case.theta, w) for w in (u, v))
    wide = differentiate.hessian_vector_product(case.gradient, case.theta.astype(np.longdouble), v.astype(np.longdouble))
    yield "Hessian–vector product against longdouble, worst block", block_error(Hv, case.layout(wide.astype(float))), 1e-13
    symmetry = abs(float(u @ Hv - v @ Hu)) / float(np.linalg.norm(u) * np.linalg.norm(Hv))
    yield "Hessian–vector product, symmetry", symmetry, 1e-13


def float32() -> Measurement:
    """The float32 backward against the float64 one at the same parameters."""
    case = random_case(0)
    theta = case.theta.astype(np.float32)
    narrow, wide = case.gradient(theta), case.gradient(theta.astype(np.float64))
    yield "float32 backward against float64, overall", float(np.linalg.norm(narrow - wide) / np.linalg.norm(wide)), 1e-5
    yield "float32 backward against float64, worst block", block_error(narrow, case.layout(wide)), 3e-5


def objectives() -> Measurement:
    """∇J in environments with a table, and the bias of the estimators by enumeration."""
    yield "exact ∇J against complex step of J, text/bandit-2-2", exact_gradient_error("text/bandit-2-2"), 1e-13
    yield "exact ∇J against complex step of J, grid/empty-3", exact_gradient_error("grid/empty-3"), 1e-13
    for label, error in (*bias.one_turn(), *bias.many_turns(), *estimators.worst_biases()):
        yield f"enumerated bias of {label}", error, 1e-12


def identities() -> Measurement:
    """What is exactly zero, and stays so."""
    case = random_case(0)
    gradient, C = case.layout(case.gradient(case.theta)), case.config.n_embd
    key_bias = max(np.abs(gradient[f"h.{i}.attn.c_attn.bias"][C : 2 * C]).max() for i in range(case.config.n_layer))
    yield "key-bias gradient, relative to max|g|", float(key_bias / np.abs(gradient.vector).max()), 1e-15
    yield "influence of a later token on an earlier logit", later_on_earlier(case), 0.0
    yield "influence of padding on the logits before it", padding_influence(case), 0.0


def later_on_earlier(case: Case) -> float:
    """Return the largest derivative of a logit before position t by the embedding of position t; it is exactly 0.

    Along a random direction: a constant added to all features would be removed by LayerNorm and reach no one.
    """
    influence, v = 0.0, np.random.default_rng(3).normal(size=case.config.n_embd)
    for t in range(1, case.ids.shape[1]):
        moved = case.layout(case.theta.astype(np.complex128))
        moved["wpe.weight"][t] += 1j * differentiate.STEP * v
        logits, _ = GPT.from_vector(case.config, moved.vector).forward(case.ids, keep=False)
        influence = max(influence, float(np.abs(logits[:, :t].imag).max()) / differentiate.STEP)
    return influence


def padding_influence(case: Case) -> float:
    """Return the largest change of a logit at a real position when the padding behind it changes."""
    model, real = GPT.from_vector(case.config, case.theta), case.targets >= 0
    other = np.where(real, case.ids, (case.ids + 1) % case.config.vocab_size)
    logits, changed = (model.forward(ids, keep=False)[0] for ids in (case.ids, other))
    return float(np.abs(logits - changed)[real].max())


def invariances() -> Measurement:
    """The same numbers by another way; a gradient check does not look at the forward."""
    case = random_case(0)
    yield "decoding with a cache against the full forward, every split", cached_decoding_error(case), 1e-13
    yield "gradient of micro-batches against the batch's, worst block", micro_batch_error(case), 1e-13


def cached_decoding_error(case: Case) -> float:
    """Return the largest difference of a logit when the text is read in two parts, relative to the largest logit."""
    model, (B, T) = GPT.from_vector(case.config, case.theta), case.ids.shape
    full, worst = model.forward(case.ids, keep=False)[0], 0.0
    for split in range(1, T):
        past = KeyValueCache(case.config, B, case.theta.dtype)
        first, _ = model.forward(case.ids[:, :split], past=past, keep=False)
        past.lengths = past.lengths + split
        second, _ = model.forward(case.ids[:, split:], past=past, keep=False)
        worst = max(worst, float(np.abs(np.concatenate([first, second], axis=1) - full).max()))
    return worst / float(np.abs(full).max())


def micro_batch_error(case: Case) -> float:
    """Return the worst block's error of the sum over rows, each with its own forward and backward and the batch's dlogits."""
    model = GPT.from_vector(case.config, case.theta)
    logits, cache = model.forward(case.ids)
    dlogits = case.dlogits(logits)[1]
    parts = [model.backward(dlogits[[row]], model.forward(case.ids[[row]])[1]) for row in range(len(case.ids))]
    return block_error(np.sum(parts, axis=0), case.layout(model.backward(dlogits, cache)))


def catalogue() -> Measurement:
    """The one-direction complex check kills every mutant and lets every control live."""
    matrix = mutants.score(mutants.one_direction)
    yield "mutants that survive the one-direction check", float(len(matrix.survivors)), 0.0
    yield "equivalent controls that it kills", float(len(matrix.false_alarms)), 0.0


GATES = (
    backward_against_complex_step, adjoint_tests, against_the_loops, second_order, float32, objectives, identities, invariances, catalogue,
)  # fmt: skip
