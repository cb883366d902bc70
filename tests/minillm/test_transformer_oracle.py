"""The model against loops over numbers of fifty digits: logits and gradient."""



import mpmath
import numpy as np
import pytest


def loop_logits(config, theta, ids, number):
    """The GPT in plain loops over Python numbers: ``number`` is mpmath.mpf."""
    get = {name: np.vectorize(number, otypes=[object])(view) for name, view in theta.items()}
    C, D = config.n_embd, config.n_embd // config.n_head

    def norm(row, name):
        mean = sum(row) / C
        r = 1 / mpmath.sqrt(sum((x - mean) ** 2 for x in row) / C + number(config.layer_norm_epsilon))
        return [get[name + ".weight"][j] * (row[j] - mean) * r + get[name + ".bias"][j] for j in range(C)]

    def affine(row, name):
        weight, bias = get[name + ".weight"], get[name + ".bias"]
        return [bias[j] + sum(row[i] * weight[i, j] for i in range(len(row))) for j in range(len(bias))]

    def gelu(x):
        return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + number("0.044715") * x**3)))

    h = [[get["wte.weight"][i, c] + get["wpe.weight"][t, c] for c in range(C)] for t, i in enumerate(ids)]
    for layer in range(config.n_layer):
        name = f"h.{layer}."
        qkv = [affine(norm(row, name + "ln_1"), name + "attn.c_attn") for row in h]
        for t in range(len(ids)):
            merged = []
            for head in range(config.n_head):
                at = range(head * D, head * D + D)
                weights = [
                    mpmath.exp(sum(qkv[t][d] * qkv[s][C + d] for d in at) / mpmath.sqrt(D)) for s in range(t + 1)
                ]
                merged += [
                    sum(w * qkv[s][2 * C + d] for s, w in enumerate(weights)) / sum(weights) for d in at
                ]
            h[t] = [a + b for a, b in zip(h[t], affine(merged, name + "attn.c_proj"), strict=True)]
            up = [gelu(x) for x in affine(norm(h[t], name + "ln_2"), name + "mlp.c_fc")]
            h[t] = [a + b for a, b in zip(h[t], affine(up, name + "mlp.c_proj"), strict=True)]
    y = [norm(row, "ln_f") for row in h]
    head = get["wte.weight" if config.tie_word_embeddings else "lm_head.weight"]
    return np.array([[sum(row[c] * head[v, c] for c in range(C)) for v in range(len(head))] for row in y])


@pytest.mark.parametrize("tied", [True, False])
def test_forward_and_gradient_equal_loops_of_fifty_digits(random_model, tied):
    model = random_model(tied=tied, vocab_size=4, n_positions=3, n_embd=4, n_inner=5)
    ids, config = np.array([2, 0, 2]), model.config
    u = np.random.default_rng(0).normal(size=(3, 4))
    z, cache = model.forward(ids)
    g = model.backward(u, cache)
    with mpmath.workdps(50):
        expected = loop_logits(config, model.parameters, ids, mpmath.mpf)
        assert np.abs(z - expected.astype(float)).max() < 1e-13 * np.abs(z).max()
        h = mpmath.mpf(10) ** -20
        for name, view in model.parameters.items():
            index = np.unravel_index(view.size // 2, view.shape)
            values = []
            for step in (h, -h):
                moved = {key: value.astype(object) for key, value in model.parameters.items()}
                moved[name][index] = mpmath.mpf(view[index]) + step
                values.append((loop_logits(config, moved, ids, mpmath.mpf) * u).sum())
            slope = float((values[0] - values[1]) / (2 * h))
            assert abs(model.parameters.like(g)[name][index] - slope) < 1e-13 * max(abs(slope), np.abs(g).max() * 1e-2)
