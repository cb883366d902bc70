"""A GPT-2 in JAX, differentiated by JAX, reads the oracle's cases and passes ``compare`` in float64."""

import json

import numpy as np
import pytest

from minillm.lab import oracle

jax = pytest.importorskip("jax")


def logits_of(p, config, ids):
    jnp = jax.numpy
    C, H, eps = config["n_embd"], config["n_head"], config["layer_norm_epsilon"]
    B, T = ids.shape

    def norm(name, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + eps) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def affine(name, x):
        return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

    x = p["wte.weight"][ids] + p["wpe.weight"][:T]
    for i in range(config["n_layer"]):
        q, k, v = jnp.split(affine(f"h.{i}.attn.c_attn", norm(f"h.{i}.ln_1", x)), 3, axis=-1)
        q, k, v = (t.reshape(B, T, H, C // H) for t in (q, k, v))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / (C // H) ** 0.5
        weights = jax.nn.softmax(jnp.where(jnp.tri(T, dtype=bool), scores, -jnp.inf), axis=-1)
        x = x + affine(f"h.{i}.attn.c_proj", jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(B, T, C))
        x = x + affine(f"h.{i}.mlp.c_proj", jax.nn.gelu(affine(f"h.{i}.mlp.c_fc", norm(f"h.{i}.ln_2", x)), approximate=True))
    return norm("ln_f", x) @ p.get("lm_head.weight", p["wte.weight"]).T


def solved(case):
    """Logits, loss, dlogits, gradient and Hessian–vector product of one case."""
    config = json.loads(str(case["config"]))
    p, v = ({key.partition("/")[2]: case[key] for key in case if key.startswith(kind)} for kind in ("parameter/", "direction/"))

    def loss_of(z):
        counts = case["targets"] != -100
        taken = np.where(counts, case["targets"], 0)[..., None]
        log_p = jax.numpy.take_along_axis(jax.nn.log_softmax(z), taken, axis=-1)[..., 0]
        return -(log_p * counts).sum() / counts.sum() + (case["upstream"] * z).sum()

    def loss(p):
        return loss_of(logits_of(p, config, case["ids"]))

    p, v = ({name: jax.numpy.asarray(a) for name, a in part.items()} for part in (p, v))
    logits = logits_of(p, config, case["ids"])
    gradient, hvp = jax.jvp(jax.grad(loss), (p,), (v,))
    found = {"logits": logits, "loss": loss_of(logits), "dlogits": jax.grad(loss_of)(logits)}
    found |= {f"gradient/{name}": g for name, g in gradient.items()} | {f"hvp/{name}": h for name, h in hvp.items()}
    return {key: np.asarray(value) for key, value in found.items()}


def test_jax_agrees_with_the_oracle(tmp_path):
    oracle.write(tmp_path / "cases")
    numbers = {}
    with jax.enable_x64(True):
        for path in (tmp_path / "cases").glob("*.npz"):
            numbers |= {f"{path.stem}/{key}": value for key, value in solved(dict(np.load(path))).items()}
    assert {value.dtype.name for value in numbers.values()} == {"float64"}
    np.savez(tmp_path / "jax.npz", **numbers)
    rows = oracle.compare(tmp_path / "cases", tmp_path / "jax.npz")
    assert len(rows) == len(numbers)
    assert oracle.first_wrong(rows) is None, oracle.report(rows)
