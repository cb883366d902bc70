"""Wrong gradients of the transformer outside of its large operations: GELU, embeddings, head, residuals, loss, rounding."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import special

from minillm import ops
from minillm.lab.mutants.core import Mutant
from minillm.lab.mutants.transformer import CASE, PROBLEM, Rows, patched
from minillm.lab.standard import Case
from minillm.objectives import IGNORE, cross_entropy, weighted_log_likelihood
from minillm.transformer import GPT, block_backward

B, T = CASE.ids.shape
V, C = CASE.config.vocab_size, CASE.config.n_embd


def _gelu(derivative: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """The right GELU with another derivative in its cache."""
    return lambda x, keep=True: (ops.gelu_new(x)[0], derivative(x))


def _tanh_form(x: np.ndarray, cubic: float = 0.044715, root: float = math.sqrt(2 / math.pi), three: float = 3.0) -> np.ndarray:
    t = np.tanh(root * (x + cubic * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * root * (1 + three * cubic * x * x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    s = special.expit(1.702 * x)
    return s + 1.702 * x * s * (1 - s)


GELU: Rows = [
    ("0.044175", "the constant 0.044175 in place of 0.044715", lambda x: _tanh_form(x, cubic=0.044175)),
    ("0.79788", "√(2/π) as 0.79788", lambda x: _tanh_form(x, root=0.79788)),
    ("erf", "the erf form's derivative on the tanh forward", lambda x: special.ndtr(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
    ("sigmoid", "the sigmoid approximation's derivative", _sigmoid),
    ("no-product", "the product rule's second term missing", lambda x: (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
    ("no-three", "the factor 3 of d(x³) missing", lambda x: _tanh_form(x, three=1.0)),
    ("relu", "ReLU's derivative", lambda x: (x > 0).astype(float)),
    ("at-output", "evaluated at the output", lambda x: _tanh_form(ops.gelu_new(x)[0])),
]  # fmt: skip


def _scattered(dy: np.ndarray, cache: tuple) -> np.ndarray:
    dW = np.zeros((cache[1], dy.shape[1]))
    dW[cache[0]] += dy
    return dW


def _assigned(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """Of repeated ids the first one stays."""
    dW = np.zeros((cache[1], dy.shape[1]))
    dW[cache[0][::-1]] = dy[::-1]
    return dW


def _embedding(change: Callable) -> Callable:
    return lambda dy, cache: change(ops.embedding_backward(dy, cache), np.bincount(cache[0], minlength=cache[1])[:, None])


def _without_token_0(dy: np.ndarray, cache: tuple) -> np.ndarray:
    dW = ops.embedding_backward(dy, cache)
    if len(dW) == V:  # tokens, not positions
        dW[0] = 0
    return dW


EMBEDDING: Rows = [
    ("buffered", "dW[ids] += dy: of repeated ids the last one arrives", _scattered),
    ("assigned", "assignment in place of accumulation", _assigned),
    ("averaged", "divided by the number of uses", _embedding(lambda dW, n: dW / np.maximum(n, 1))),
    ("pad-zeroed", "the row of token 0 zeroed, as if it were padding", _without_token_0),
    ("shifted", "rows off by one", _embedding(lambda dW, n: np.roll(dW, 1, axis=0))),
]  # fmt: skip


def _shares(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradient, and the embedding's and the head's shares of the tied array."""
    config = dataclasses.replace(CASE.config, tie_word_embeddings=False)
    split = Case(config, np.concatenate([theta, theta[: V * C]]), CASE.ids, CASE.targets, CASE.upstream)
    gradient = split.gradient(split.theta)
    return gradient[: theta.size].copy(), gradient[: V * C], gradient[theta.size :]


def _tied(combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable:
    def gradient(theta: np.ndarray) -> np.ndarray:
        whole, embedding, head = _shares(theta)
        whole[: V * C] = combine(embedding, head)
        return whole

    return gradient


TIED: Rows = [
    ("no-head", "the head's share dropped", lambda e, h: e),
    ("overwritten", "the head's share overwrites the embedding's", lambda e, h: h),
    ("head-twice", "the head's share counted twice", lambda e, h: e + 2 * h),
    ("mean", "the mean of both shares", lambda e, h: (e + h) / 2),
]
RESIDUAL: Rows = [
    ("dropped", "a block passes back its branches alone", lambda dh, *rest: block_backward(dh, *rest) - dh),
    ("doubled", "a block passes back the residual twice", lambda dh, *rest: block_backward(dh, *rest) + dh),
    ("cut", "nothing passes back through a block", lambda dh, *rest: 0 * block_backward(dh, *rest)),
]


def _from_dlogits(make: Callable[[np.ndarray], np.ndarray]) -> Callable:
    def gradient(theta: np.ndarray) -> np.ndarray:
        model = GPT.from_vector(CASE.config, theta)
        logits, cache = model.forward(CASE.ids)
        return model.backward(make(logits) + CASE.upstream, cache)

    return gradient


def _likelihood(logits: np.ndarray, targets: np.ndarray, c: np.ndarray | float) -> np.ndarray:
    return weighted_log_likelihood(logits, targets, np.asarray(c))[1]


TARGETS = CASE.targets
REAL = TARGETS != IGNORE
N = int(REAL.sum())
FILLED = np.where(REAL, TARGETS, 0)
ONE_HOT = np.eye(V)[FILLED] * REAL[..., None]


def _p(logits: np.ndarray) -> np.ndarray:
    return np.exp(ops.log_softmax(logits)[0])


def _p_taken(logits: np.ndarray) -> np.ndarray:
    return np.take_along_axis(_p(logits), FILLED[..., None], -1)[..., 0]


def _chained_twice(logits: np.ndarray) -> np.ndarray:
    p, d = _p(logits), cross_entropy(logits, TARGETS)[1]
    return p * (d - (p * d).sum(-1, keepdims=True))


def _smoothed(logits: np.ndarray) -> np.ndarray:
    return cross_entropy(logits, TARGETS)[1] + 0.01 * (ONE_HOT - REAL[..., None] / V) / N


def _over_time(logits: np.ndarray) -> np.ndarray:
    return (_p(logits.swapaxes(1, 2)).swapaxes(1, 2) * REAL[..., None] - ONE_HOT) / N


LOSS: Rows = [
    ("padded-mean", "the mean taken over padded tokens too", lambda z: _likelihood(z, TARGETS, -1 / TARGETS.size)),
    ("padding-counted", "padding counted as token 0", lambda z: _likelihood(z, FILLED, -1 / N)),
    ("sum", "a sum where a mean is meant", lambda z: _likelihood(z, TARGETS, -1.0)),
    ("sign", "onehot - p in place of p - onehot", lambda z: _likelihood(z, TARGETS, 1 / N)),
    ("one-hot", "p missing", lambda z: -ONE_HOT / N),
    ("mask-shifted", "the mask off by one", lambda z: _likelihood(z, np.where(np.roll(REAL, 1, 1), FILLED, IGNORE), -1 / N)),
    ("targets-shifted", "targets off by one", lambda z: _likelihood(z, np.where(REAL, CASE.ids, IGNORE), -1 / N)),
    ("sequence-mean", "a mean of sequences' means", lambda z: _likelihood(z, TARGETS, -1 / (B * REAL.sum(1, keepdims=True)))),
    ("smoothed", "label smoothing of 0.01 in the backward alone", _smoothed),
    ("log-p-eps", "the derivative of log(p + 1e-8)", lambda z: _likelihood(z, TARGETS, -_p_taken(z) / (_p_taken(z) + 1e-8) / N)),
    ("p-float32", "the loss's gradient through float32", lambda z: cross_entropy(z.astype(np.float32), TARGETS)[1].astype(float)),
    ("twice", "the softmax's Jacobian applied twice", _chained_twice),
    ("time-axis", "softmax over time", _over_time),
]  # fmt: skip
# fmt: off


def _on(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Change one named array of the gradient."""

    def changed(g: np.ndarray) -> np.ndarray:
        g = g.copy()
        view = CASE.layout(g)[name]
        view[...] = change(view)
        return g

    return changed


def _key_rubbish(g: np.ndarray) -> np.ndarray:
    size = 1e-8 * np.abs(g).max()
    return _on("h.0.attn.c_attn.bias", lambda b: b + size * ((np.arange(3 * C) // C) == 1))(g)


def _one_entry(g: np.ndarray) -> np.ndarray:
    g = g.copy()
    g[g.size // 2] *= 1 + 1e-6
    return g


AFTERWARDS: Rows = [
    ("float32", "rounded through float32", lambda g: g.astype(np.float32).astype(float)),
    ("float16", "rounded through float16", lambda g: g.astype(np.float16).astype(float)),
    ("twice", "accumulated twice", lambda g: 2 * g),
    ("zero", "no gradient at all", lambda g: 0 * g),
    ("clipped", "clipped to norm 1", lambda g: g / max(1.0, float(np.linalg.norm(g)))),
    ("one-entry", "one entry off by a millionth", _one_entry),
    ("key-rubbish", "1e-8 of rubbish in the key bias", _key_rubbish),
    ("decay", "1e-3·θ added", lambda g: g + 1e-3 * CASE.theta),
    ("positions-mean", "position embeddings averaged over the batch", _on("wpe.weight", lambda w: w / B)),
    ("positions-shifted", "position embeddings off by one", _on("wpe.weight", lambda w: np.roll(w, 1, axis=0))),
    ("positions-none", "position embeddings without a gradient", _on("wpe.weight", lambda w: 0 * w)),
    (
        "qkv-order",
        "q, k, v in the order k, q, v",
        _on("h.1.attn.c_attn.weight", lambda w: w[:, [*range(C, 2 * C), *range(C), *range(2 * C, 3 * C)]]),
    ),
    ("transposed", "a square weight's gradient transposed", _on("h.0.attn.c_proj.weight", lambda w: w.T.copy())),
]
# fmt: on


def _afterwards(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda theta: change(CASE.gradient(theta))


def _mutants() -> Iterator[Mutant]:
    for id, text, derivative in GELU:
        yield Mutant(f"gelu-{id}", text, PROBLEM, patched("block.gelu_new", _gelu(derivative)))
    for id, text, function in EMBEDDING:
        yield Mutant(f"embedding-{id}", text, PROBLEM, patched("transformer.embedding_backward", function))
    for id, text, combine in TIED:
        yield Mutant(f"tied-{id}", text, PROBLEM, _tied(combine))
    for id, text, function in RESIDUAL:
        yield Mutant(f"residual-{id}", text, PROBLEM, patched("transformer.block_backward", function))
    for id, text, make in LOSS:
        yield Mutant(f"loss-{id}", text, PROBLEM, _from_dlogits(make))
    for id, text, change in AFTERWARDS:
        yield Mutant(f"whole-{id}", text, PROBLEM, _afterwards(change))


def _without_key_bias(g: np.ndarray) -> np.ndarray:
    """Right: the key bias's gradient is zero."""
    return _on("h.0.attn.c_attn.bias", lambda b: np.where(np.arange(3 * C) // C == 1, 0, b))(g)


def _wide(theta: np.ndarray) -> np.ndarray:
    return CASE.gradient(theta.astype(np.longdouble)).astype(float)


CATALOGUE = [
    *_mutants(),
    Mutant("control-gelu", "the derivative through tanh", PROBLEM, patched("block.gelu_new", _gelu(_tanh_form)), True),
    Mutant("control-tied", "both shares added", PROBLEM, _tied(lambda e, h: e + h), True),
    Mutant("control-key-bias", "the key bias's gradient set to zero", PROBLEM, lambda t: _without_key_bias(CASE.gradient(t)), True),
    Mutant("control-loss", "p from shifted logits", PROBLEM, _from_dlogits(lambda z: cross_entropy(z + 3, TARGETS)[1]), True),
    Mutant("control-longdouble", "computed in longdouble", PROBLEM, _wide, True),
]
