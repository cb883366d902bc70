"""An independent GPT-2: scalar loops in mpmath at 50 digits, written from the paper's formulas and not from ``minillm.ops``.

Its numbers for one small case are stored in ``minillm/lab/loop_oracle.json``, which ``minillm check`` reads. To make them again:
``python tests/minillm/lab/test_loop_oracle.py``.
"""

import json

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from minillm.lab import gate_cases
from minillm.lab.standard import random_case

mpmath.mp.dps = 50
STEP = mpf(10) ** -22


def dot(a, b):
    return mpmath.fdot(zip(a, b, strict=True))


def affine(x, W, b):
    """y_j = Σ_i x_i W_ij + b_j."""
    return [dot(x, [row[j] for row in W]) + b[j] for j in range(len(b))]


def normalise(x, gain, shift, eps):
    mean = mpmath.fsum(x) / len(x)
    variance = mpmath.fsum([(xi - mean) ** 2 for xi in x]) / len(x)
    return [g * (xi - mean) / mpmath.sqrt(variance + eps) + s for xi, g, s in zip(x, gain, shift, strict=True)]


def gelu(x):
    """½x(1 + tanh(√(2/π)(x + 0.044715x³)))."""
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3)))


def softmax(scores):
    weights = [mpmath.exp(s) for s in scores]
    total = mpmath.fsum(weights)
    return [w / total for w in weights]


def attend(qkv, heads):
    """Causal self-attention over a sequence of rows [q | k | v]."""
    C = len(qkv[0]) // 3
    D = C // heads
    rows = []
    for t in range(len(qkv)):
        row = []
        for h in range(heads):
            q = qkv[t][h * D : (h + 1) * D]
            keys = [qkv[j][C + h * D : C + (h + 1) * D] for j in range(t + 1)]
            values = [qkv[j][2 * C + h * D : 2 * C + (h + 1) * D] for j in range(t + 1)]
            p = softmax([dot(q, k) / mpmath.sqrt(D) for k in keys])
            row += [dot(p, [v[d] for v in values]) for d in range(D)]
        rows.append(row)
    return rows


def add(a, b):
    return [[x + y for x, y in zip(r, s, strict=True)] for r, s in zip(a, b, strict=True)]


def logits_of(p, config, ids):
    """Pre-LN blocks on token plus position embeddings, a final LayerNorm, the tied head."""
    eps = mpf(config.layer_norm_epsilon)
    x = [[w + q for w, q in zip(p["wte.weight"][i], p["wpe.weight"][t], strict=True)] for t, i in enumerate(ids)]
    for layer in range(config.n_layer):

        def of(name, layer=layer):
            return p[f"h.{layer}.{name}.weight"], p[f"h.{layer}.{name}.bias"]

        qkv = [affine(normalise(row, *of("ln_1"), eps), *of("attn.c_attn")) for row in x]
        x = add(x, [affine(row, *of("attn.c_proj")) for row in attend(qkv, config.n_head)])
        inner = [[gelu(u) for u in affine(normalise(row, *of("ln_2"), eps), *of("mlp.c_fc"))] for row in x]
        x = add(x, [affine(row, *of("mlp.c_proj")) for row in inner])
    final = [normalise(row, p["ln_f.weight"], p["ln_f.bias"], eps) for row in x]
    return [[dot(row, w) for w in p["wte.weight"]] for row in final]


def loss_of(case, theta):
    """Mean of −log softmax over the targets that count, plus ⟨U, z⟩."""
    p = {}
    start = 0
    for name, shape in case.config.shapes().items():
        flat = theta[start : start + int(np.prod(shape))]
        start += len(flat)
        p[name] = flat if len(shape) == 1 else [flat[i * shape[1] : (i + 1) * shape[1]] for i in range(shape[0])]
    total, n, linear = mpf(0), 0, mpf(0)
    for ids, targets, U in zip(case.ids.tolist(), case.targets.tolist(), case.upstream.tolist(), strict=True):
        for z, target, u in zip(logits_of(p, case.config, ids), targets, U, strict=True):
            linear += dot(z, [mpf(w) for w in u])
            if target != -100:
                n += 1
                total -= mpmath.log(softmax(z)[target])
    return total / n + linear


def oracle(case, indices):
    """Loss, and its derivatives by the given parameters: forward differences, right to about 20 digits."""
    theta = [mpf(value) for value in case.theta.tolist()]
    loss = loss_of(case, theta)
    slopes = []
    for i in indices:
        moved = list(theta)
        moved[i] += STEP
        slopes.append((loss_of(case, moved) - loss) / STEP)
    return loss, slopes


def small_case():
    return random_case(5, V=5, T=4, B=2, H=2, D=2)


def test_the_stored_case_is_the_small_case():
    stored, case = gate_cases.loop_oracle_case()[0], small_case()
    for name in ("theta", "ids", "targets", "upstream"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(case, name))
    assert stored.config == case.config


def test_loss_and_gradient_agree_with_the_loops_in_every_array():
    """One entry of each named array, the one with the largest gradient; the slow test has them all."""
    case, stored_loss, stored_gradient = gate_cases.loop_oracle_case()
    gradient = case.gradient(case.theta)
    indices = [s.start + int(np.abs(gradient[s]).argmax()) for s in case.layout(case.theta).slices.values()]
    loss, slopes = oracle(case, indices)
    assert float(abs(case.loss(case.theta) / loss - 1)) < 1e-13
    for i, slope in zip(indices, slopes, strict=True):
        assert float(abs(gradient[i] / slope - 1)) < 1e-13, case.layout(gradient).name_at(i)
        assert float(slope) == stored_gradient[i]
    assert float(loss) == stored_loss


@pytest.mark.slow
def test_the_stored_numbers_are_those_of_the_loops():
    case, stored_loss, stored_gradient = gate_cases.loop_oracle_case()
    loss, slopes = oracle(case, range(case.theta.size))
    assert float(loss) == stored_loss
    np.testing.assert_array_equal([float(slope) for slope in slopes], stored_gradient)


def main():
    case = small_case()
    loss, slopes = oracle(case, range(case.theta.size))
    arrays = {name: getattr(case, name).tolist() for name in ("theta", "ids", "targets", "upstream")}
    config = {name: getattr(case.config, name) for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner")}
    made = {"config": config, **arrays, "loss": float(loss), "gradient": [float(slope) for slope in slopes]}
    gate_cases.LOOP_ORACLE.write_text(json.dumps(made) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
