r"""Test cases as data, for any other framework.

``write`` puts one ``.npz`` file a case into a directory. Each is read with ``numpy.load`` alone and holds

- ``format`` (the version of this layout) and ``config`` (JSON, under the names of Hugging Face's ``GPT2Config``);
- ``parameter/NAME``: float64, under GPT-2's tensor names; weights of linear maps are stored (in, out);
- ``ids`` (B, T), ``targets`` (B, T) with −100 where nothing counts, ``upstream`` $U$ (B, T, V) and ``direction/NAME`` $v$;
- what comes out: ``activation/NAME`` (named intermediates, in the order of the computation), ``logits``, the ``loss`` $L$,
  which is the mean cross-entropy over the targets that count plus $\langle U, z\rangle$, ``dlogits`` $\partial L/\partial z$,
  ``gradient/NAME`` $\partial L/\partial\theta$ and ``hvp/NAME`` $\nabla^2L\,v$;
- for each of these also ``low/…``: the exact value is the sum of both float64 numbers; and ``bound/…``: how far a float64
  computation may be off, in absolute terms.

``compare`` reads your numbers from one ``.npz`` with keys ``CASE/…`` (any part of the above, ``CASE`` being the file's stem) and names the
first tensor, in the order of the computation, that is wrong.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minillm.errors import UserError
from minillm.lab.differentiate import hessian_vector_product
from minillm.lab.standard import Case, random_case
from minillm.ops import layernorm_again
from minillm.ops.attention import attention_weights
from minillm.transformer import GPT

FORMAT = 1
CASES: dict[str, dict[str, Any]] = {
    "tied": {"rng": 11},
    "untied": {"rng": 12, "tied": False},
    "one-head": {"rng": 13, "H": 1, "D": 6},
    "wide-heads": {"rng": 14, "V": 11, "T": 8, "B": 2, "H": 3, "D": 2},
}
DTYPE_BOUND = {"float64": 1e-12, "float32": 1e-4, "float16": 5e-2}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One tensor of one case: largest absolute error, the bound that it must not exceed, and the index of the largest error."""

    case: str
    tensor: str
    error: float
    bound: float
    index: tuple[int, ...]

    @property
    def ok(self) -> bool:
        """Whether the tensor is right; NaN is not."""
        return bool(self.error <= self.bound)


def write(directory: str | Path) -> list[Path]:
    """Write every case into ``directory`` (made if it is not there) and return the files."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, options in CASES.items():
        paths.append(directory / f"{name}.npz")
        np.savez(paths[-1], **contents(random_case(**options)))
    return paths


def contents(case: Case) -> dict[str, Any]:
    """Return the arrays of a case by key; what comes out is computed in longdouble."""
    theta, v = case.theta.astype(np.longdouble), np.random.default_rng(1).normal(size=case.theta.size)
    arrays = {
        "format": np.array(FORMAT),
        "config": np.array(json.dumps(dataclasses.asdict(case.config))),
        "ids": case.ids,
        "targets": case.targets,
        "upstream": case.upstream,
        **{f"parameter/{name}": view for name, view in case.layout(case.theta).items()},
        **{f"direction/{name}": view for name, view in case.layout(v).items()},
    }
    model = GPT.from_vector(case.config, theta)
    logits, cache = model.forward(case.ids)
    loss, dlogits = case.dlogits(logits)
    results = {f"activation/{name}": value for name, value in _activations(case, cache)}
    results |= {"logits": logits, "loss": np.asarray(loss), "dlogits": dlogits}
    gradient = case.layout(model.backward(dlogits, cache))
    hvp = case.layout(hessian_vector_product(case.gradient, theta, v.astype(np.longdouble)))
    results |= {f"gradient/{name}": gradient[name] for name in reversed(list(gradient))}
    results |= {f"hvp/{name}": hvp[name] for name in reversed(list(hvp))}
    for key, value in results.items():
        high = value.astype(np.float64)
        arrays |= {key: high, f"low/{key}": (value - high).astype(np.float64), f"bound/{key}": np.array(_bound(key, results))}
    return arrays


def _bound(key: str, results: dict[str, np.ndarray]) -> float:
    """1e-12 of the tensor's largest entry; of a thousandth of the largest of its kind where the tensor itself is smaller."""
    kind = key.partition("/")[0]
    top = max(float(np.abs(value).max()) for other, value in results.items() if other.partition("/")[0] == kind)
    return DTYPE_BOUND["float64"] * max(float(np.abs(results[key]).max()), 1e-3 * top)


def _activations(case: Case, cache: tuple) -> Iterator[tuple[str, np.ndarray]]:
    """Named intermediates in the order of the computation, each of shape (B, T, …) or (B, H, T, …)."""
    _, _, blocks, final, _, (B, T), *_ = cache
    for i, kept in enumerate(blocks):
        qkvp = (*kept.attended[:3], attention_weights(kept.attended))
        yield f"h.{i}.ln_1", layernorm_again(kept.ln_1).reshape(B, T, -1)
        yield from ((f"h.{i}.attn.{name}", value) for name, value in zip("qkvp", qkvp, strict=True))
        yield f"h.{i}.attn.merged", kept.attn_proj[0].reshape(B, T, -1)
        yield f"h.{i}.ln_2", layernorm_again(kept.ln_2).reshape(B, T, -1)
        yield f"h.{i}.mlp.act", kept.mlp_proj[0].reshape(B, T, -1)
    yield "ln_f", final.reshape(B, T, -1)


def compare(directory: str | Path, yours: str | Path) -> list[Comparison]:
    """Compare your tensors with the exact ones.

    Parameters
    ----------
    directory : path
        What :func:`write` filled.
    yours : path of an ``.npz`` file
        Keys ``CASE/TENSOR``; a part of the tensors is enough. float32 and float16 tensors get the bound of their precision.

    Returns
    -------
    list of Comparison
        In the order of the computation; :func:`first_wrong` picks the first that is not right.

    Raises
    ------
    UserError
        If a file is missing or unreadable, a key is unknown, a shape is wrong, or nothing is there to compare.
    """
    given = _load(yours)
    rows: list[Comparison] = []
    for path in sorted(Path(directory).glob("*.npz")):
        exact = _load(path)
        if int(exact.get("format", 0)) != FORMAT:
            raise UserError(f"{path} is not an oracle case of format {FORMAT}")
        keys = [key.removeprefix("low/") for key in exact if key.startswith("low/")]
        rows += [_compared(path.stem, key, given.pop(f"{path.stem}/{key}"), exact) for key in keys if f"{path.stem}/{key}" in given]
    if given:
        raise UserError(f"{yours}: no case has a tensor {min(given)!r}; keys are CASE/TENSOR, such as 'tied/logits'")
    if not rows:
        raise UserError(f"{yours} and {directory} have no tensor in common")
    return rows


def first_wrong(rows: list[Comparison]) -> Comparison | None:
    """Return the first comparison that is not right, or None."""
    return next((row for row in rows if not row.ok), None)


def report(rows: list[Comparison]) -> str:
    """Return in one line what was compared and the first wrong tensor."""
    wrong = first_wrong(rows)
    if wrong is None:
        return f"{len(rows)} tensors of {len({row.case for row in rows})} cases agree"
    where = f"at {list(wrong.index)}" if wrong.index else ""
    return f"first wrong tensor: {wrong.case}/{wrong.tensor} is off by {wrong.error:.2g} {where} (bound {wrong.bound:.2g})".replace("  ", " ")


def _compared(case: str, key: str, value: np.ndarray, exact: dict[str, np.ndarray]) -> Comparison:
    high, low = exact[key], exact[f"low/{key}"]
    if value.shape != high.shape:
        raise UserError(f"{case}/{key} has shape {value.shape}, expected {high.shape}")
    error = np.abs((value.astype(np.longdouble) - high) - low)
    scale = DTYPE_BOUND.get(value.dtype.name, DTYPE_BOUND["float64"]) / DTYPE_BOUND["float64"]
    index = np.unravel_index(int(np.where(np.isnan(error), np.inf, error).argmax()), error.shape)
    return Comparison(case, key, float(error.max()), float(exact[f"bound/{key}"]) * scale, tuple(int(i) for i in index))


def _load(path: str | Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is not a readable .npz file: {error}") from None
