"""Checkpoints (NumPy ``.npz``, never pickle) and run directories; a file is replaced only by a complete one."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from minillm.config import GPTConfig
from minillm.errors import CheckpointError, RunDirectoryError, UserError
from minillm.optimizers import AdamW
from minillm.parameters import Parameters
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT

FORMAT = "minillm-checkpoint-1"
FILES = ("config.json", "metrics.jsonl", "episodes.jsonl", "checkpoint.npz", "summary.json", "curve.png")


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside ``path``, sync, then rename: at every moment the file is either the old one or the new one, whole.

    Raises
    ------
    RunDirectoryError
        If the directory cannot be written or the disk is full; the old file stays.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunDirectoryError(f"cannot write {path}: {error.strerror or error}") from None


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def save(path: Path, model: GPT, tokenizer: CharTokenizer, optimizer: AdamW | None = None, **facts: Any) -> None:
    """Save a model, its tokenizer and optionally its optimizer; ``facts`` are kept beside them as JSON."""
    meta = {
        "format": FORMAT,
        "config": dataclasses.asdict(model.config),
        "characters": tokenizer.characters,
        "names": list(model.parameters),
        "facts": facts,
    }
    arrays = {"meta": np.array(json.dumps(meta)), "parameters": model.parameters.vector}
    if optimizer is not None:
        arrays |= {"adam_m": optimizer.m, "adam_v": optimizer.v, "adam_t": np.array(optimizer.t)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(Path(path), buffer.getvalue())


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What :func:`load` found."""

    model: GPT
    tokenizer: CharTokenizer
    facts: dict[str, Any]


def load(path: Path) -> Checkpoint:
    """Load a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign, or contradicts itself; nothing is then half loaded.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays["meta"][()]))
        if meta["format"] != FORMAT:
            raise CheckpointError(f"{path} has the format {meta['format']!r}, expected {FORMAT!r}")
        model = GPT.from_vector(GPTConfig(**meta["config"]), _vector(path, arrays["parameters"], GPTConfig(**meta["config"])))
        return Checkpoint(model, CharTokenizer(meta["characters"]), dict(meta["facts"]))
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except UserError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile) as error:
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise CheckpointError(f"{path} is not a checkpoint of minillm, or is damaged ({reason:.120})") from None


def _vector(path: Path, vector: np.ndarray, config: GPTConfig) -> np.ndarray:
    size = sum(int(np.prod(shape)) for shape in config.shapes().values())
    if vector.shape != (size,) or vector.dtype.kind not in "fc":
        raise CheckpointError(f"{path} holds {vector.dtype} parameters of shape {vector.shape}, expected ({size},)")
    if not np.isfinite(vector).all():
        where = int(np.argmin(np.isfinite(vector)))
        name, index = Parameters(config.shapes(), np.ascontiguousarray(vector)).name_at(where)
        raise CheckpointError(f"{path} holds {vector[where]} in {name} at index {index}")
    return np.ascontiguousarray(vector)


def prepare_directory(path: Path, overwrite: bool = False) -> Path:
    """Make an empty run directory.

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
        foreign = [name for name in held if name not in FILES and not name.endswith(".tmp")]
        if foreign:
            raise RunDirectoryError(f"{path} holds {foreign[0]}, which is not of a run; nothing was deleted")
        for name in held:
            (path / name).unlink()
        write_atomically(path / "config.json", b"{}\n")
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
