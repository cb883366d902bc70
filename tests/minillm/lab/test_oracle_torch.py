"""A GPT-2 in torch, differentiated by torch, reads the oracle's cases and passes ``compare`` in float64."""

import json

import numpy as np
import pytest

from minillm.lab import oracle

torch = pytest.importorskip("torch")
F = torch.nn.functional


def logits_of(p, config, ids):
    C, H, eps = config["n_embd"], config["n_head"], config["layer_norm_epsilon"]
    B, T = ids.shape
    x = p["wte.weight"][ids] + p["wpe.weight"][:T]
    for i in range(config["n_layer"]):

        def norm(name, x, i=i):
            return F.layer_norm(x, (C,), p[f"h.{i}.{name}.weight"], p[f"h.{i}.{name}.bias"], eps)

        def affine(name, x, i=i):
            return x @ p[f"h.{i}.{name}.weight"] + p[f"h.{i}.{name}.bias"]

        q, k, v = (t.view(B, T, H, C // H).transpose(1, 2) for t in affine("attn.c_attn", norm("ln_1", x)).split(C, dim=2))
        scores = (q @ k.transpose(2, 3)) / (C // H) ** 0.5
        hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
        merged = (scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v).transpose(1, 2).reshape(B, T, C)
        x = x + affine("attn.c_proj", merged)
        x = x + affine("mlp.c_proj", F.gelu(affine("mlp.c_fc", norm("ln_2", x)), approximate="tanh"))
    x = F.layer_norm(x, (C,), p["ln_f.weight"], p["ln_f.bias"], eps)
    return x @ p.get("lm_head.weight", p["wte.weight"]).T


def solved(case):
    """Logits, loss, dlogits, gradient and Hessian–vector product of one case."""
    config = json.loads(str(case["config"]))
    parts = {
        kind: {key.partition("/")[2]: torch.tensor(case[key]) for key in case if key.startswith(kind + "/")}
        for kind in ("parameter", "direction")
    }
    p = {name: value.requires_grad_() for name, value in parts["parameter"].items()}
    ids, targets, U = (torch.tensor(case[name]) for name in ("ids", "targets", "upstream"))
    logits = logits_of(p, config, ids)
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100) + (U * logits).sum()
    (dlogits,) = torch.autograd.grad(loss, logits, retain_graph=True)
    gradient = torch.autograd.grad(loss, list(p.values()), create_graph=True)
    slope = sum((g * parts["direction"][name]).sum() for name, g in zip(p, gradient, strict=True))
    hvp = torch.autograd.grad(slope, list(p.values()))
    found = {"logits": logits, "loss": loss, "dlogits": dlogits}
    for kind, values in (("gradient", gradient), ("hvp", hvp)):
        found |= {f"{kind}/{name}": value for name, value in zip(p, values, strict=True)}
    return {key: value.detach().numpy() for key, value in found.items()}


def test_torch_agrees_with_the_oracle(tmp_path):
    oracle.write(tmp_path / "cases")
    numbers = {}
    for path in (tmp_path / "cases").glob("*.npz"):
        numbers |= {f"{path.stem}/{key}": value for key, value in solved(dict(np.load(path))).items()}
    np.savez(tmp_path / "torch.npz", **numbers)
    rows = oracle.compare(tmp_path / "cases", tmp_path / "torch.npz")
    assert len(rows) == len(numbers)
    assert oracle.first_wrong(rows) is None, oracle.report(rows)
