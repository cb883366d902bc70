"""Checkpoints (NumPy ``.npz``, never pickle) and run directories; a file is replaced only by a complete one."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from minillm.archive import read_arrays
from minillm.bpe import BPETokenizer
from minillm.config import GPTConfig
from minillm.errors import CheckpointError, RunDirectoryError, UserError, require_integer
from minillm.optimizers import AdamW
from minillm.parameters import Parameters
from minillm.tokenizer import CharTokenizer, Tokenizer
from minillm.transformer import GPT

FORMAT = "minillm-checkpoint-1"
OPTIONS = ("lr", "betas", "eps", "weight_decay")
ARRAYS = ("meta", "parameters", "adam_m", "adam_v", "adam_t", "reference")
# What zipfile, NumPy and json raise at a file that somebody else wrote, or wrote half.
DAMAGE = (
    OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, NotImplementedError,
    RuntimeError, OverflowError, MemoryError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
FILES = (
    "config.json", "metrics.jsonl", "episodes.jsonl", "coefficients.jsonl", "checkpoint.npz", "summary.json", "curve.png",
    "best.npz", "loss.png", "metrics.csv", "journal.jsonl", "runs.csv", "table.csv", "compare.json", "compare.png",
)  # fmt: skip
EVENTS = "events.out.tfevents."  # what the names of TensorBoard's files begin with


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write bytes, or pieces of them, beside ``path``, sync, then rename: at every moment the file is the old one or the new one, whole.

    Raises
    ------
    RunDirectoryError
        If the directory cannot be written or the disk is full; the old file stays.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RunDirectoryError(f"cannot write {path}: {error.strerror or error}") from None


def _sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk; without effect where directories cannot be opened, as on Windows."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(directory: Path) -> None:
    """Remove what a process that was killed while it wrote a file left beside it."""
    for path in directory.glob("*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def save(
    path: Path, model: GPT, tokenizer: Tokenizer, optimizer: AdamW | None = None, reference: GPT | None = None, **facts: Any
) -> None:
    """Save a model, its tokenizer and optionally its optimizer and a reference of the same shape; ``facts`` are kept beside them as JSON."""
    meta = {
        "format": FORMAT,
        "config": dataclasses.asdict(model.config),
        **tokenizer.state(),
        "names": list(model.parameters),
        "facts": facts,
        "optimizer": None if optimizer is None else {name: getattr(optimizer, name) for name in OPTIONS},
    }
    arrays = {"meta": np.array(json.dumps(meta)), "parameters": model.parameters.vector}
    if optimizer is not None:
        arrays |= {"adam_m": optimizer.m, "adam_v": optimizer.v, "adam_t": np.array(optimizer.t)}
    if reference is not None:
        arrays["reference"] = reference.parameters.vector
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(Path(path), buffer.getvalue())


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What :func:`load` found; ``optimizer`` and ``reference`` are None where none was saved; the former goes on to the bit."""

    model: GPT
    tokenizer: CharTokenizer | BPETokenizer
    facts: dict[str, Any]
    optimizer: AdamW | None
    reference: GPT | None


def load(path: Path) -> Checkpoint:
    """Load a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign, or contradicts itself; nothing is then half loaded.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except UserError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except DAMAGE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".replace(str(path), "the file").split())
        raise CheckpointError(f"{path} is not a checkpoint of minillm, or is damaged ({reason:.120})") from None


def _load(path: Path) -> Checkpoint:
    with open(path, "rb") as file:
        arrays = read_arrays(file, ARRAYS)
    meta = json.loads(str(arrays["meta"][()]))
    if meta["format"] != FORMAT:
        raise CheckpointError(f"it has the format {meta['format']!r}, expected {FORMAT!r}")
    config = GPTConfig(**meta["config"])
    tokenizer = BPETokenizer(**meta["bpe"]) if "bpe" in meta else CharTokenizer(meta["characters"])
    if config.n_layer > len(meta["names"]) or meta["names"] != list(config.shapes()):  # the former: shapes() is as long as it says
        raise CheckpointError("the names of its parameters are not those of its config")
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(f"its {tokenizer.vocab_size} ids do not fit into its vocab_size = {config.vocab_size}")
    model = GPT.from_vector(config, _vector(arrays["parameters"], config))
    reference = GPT.from_vector(config, _vector(arrays["reference"], config)) if "reference" in arrays else None
    return Checkpoint(model, tokenizer, dict(meta["facts"]), _optimizer(model, meta["optimizer"], arrays), reference)


def _vector(vector: np.ndarray, config: GPTConfig) -> np.ndarray:
    size = sum(math.prod(shape) for shape in config.shapes().values())
    if vector.shape != (size,) or vector.dtype.kind not in "fc":
        raise CheckpointError(f"it holds {vector.dtype} parameters of shape {vector.shape}, expected ({size},)")
    if not np.isfinite(vector).all():
        where = int(np.argmin(np.isfinite(vector)))
        name, index = Parameters(config.shapes(), vector).name_at(where)
        raise CheckpointError(f"it holds {vector[where]} in {name} at index {index}")
    return vector


def _optimizer(model: GPT, options: dict[str, Any] | None, arrays: dict[str, np.ndarray]) -> AdamW | None:
    if options is None:
        return None
    optimizer, theta = AdamW(model.parameters, **options), model.parameters.vector
    for name in ("adam_m", "adam_v"):
        moment = arrays[name]
        if (moment.shape, moment.dtype) != (theta.shape, theta.dtype) or not np.isfinite(moment).all():
            raise CheckpointError(f"{name} must be finite and like the parameters, got {moment.dtype} {moment.shape}")
    optimizer.m, optimizer.v = arrays["adam_m"], arrays["adam_v"]
    optimizer.t = require_integer("adam_t", arrays["adam_t"].reshape(1)[0], 0)
    return optimizer


def prepare_directory(path: Path, overwrite: bool = False, config: dict[str, Any] | None = None) -> Path:
    """Make a run directory that holds ``config.json`` and nothing else.

    A directory that already holds files is refused, unless ``overwrite`` and all that is deleted are files of a run.

    Raises
    ------
    RunDirectoryError
        If it is in use, is not a directory, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        held = sorted(entry.name for entry in path.iterdir())
        if held and not overwrite:
            raise RunDirectoryError(f"{path} already holds {held[0]}; choose another --out or give --overwrite")
        foreign = [name for name in held if name not in FILES and not name.endswith(".tmp") and not name.startswith(EVENTS)]
        if foreign:
            raise RunDirectoryError(f"{path} holds {foreign[0]}, which is not of a run; nothing was deleted")
        for name in held:
            (path / name).unlink()
        write_json(path / "config.json", config or {})
    except OSError as error:
        raise RunDirectoryError(f"cannot use {path} as a run directory: {error.strerror or error}") from None
    return path


def fresh_directory(base: Path) -> Path:
    """Return ``base``, or ``base-2``, ``base-3``, … : the first that does not exist."""
    candidate, number = base, 1
    while candidate.exists():
        number += 1
        candidate = base.with_name(f"{base.name}-{number}")
    return candidate
