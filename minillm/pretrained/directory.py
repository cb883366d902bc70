"""A checkpoint's directory: ``config.json``, and ``model.safetensors`` or shards with an index. Nothing is downloaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minillm.checkpoint import write_json
from minillm.errors import CheckpointError, RunDirectoryError
from minillm.json_object import read_object
from minillm.pretrained.safetensors import PICKLES, SafeTensors, pickle_refusal, write_safetensors

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
NEW = ".new"
METADATA = {"format": "pt"}  # transformers asks for it


def locate(name: str | Path) -> Path:
    """Return the directory of that path or, failing that, of that name in the local Hugging Face cache.

    Raises
    ------
    CheckpointError
        If there is neither; the message says what to place where.
    """
    path = Path(name)
    try:
        if path.is_dir():
            return path
        exists, snapshot = path.exists(), _snapshot(str(name))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {name!s:.80}: {getattr(error, 'strerror', None) or error}") from None
    if path.suffix in PICKLES:
        raise CheckpointError(pickle_refusal(path))
    if exists:
        raise CheckpointError(f"{path} is a file, expected the directory that holds it and its config.json")
    if snapshot is not None and snapshot.is_dir():
        return snapshot
    raise CheckpointError(
        f"{name} is not a directory and not in the local Hugging Face cache {_hub()}; nothing is downloaded: "
        f"place config.json and {SINGLE} in a directory and give its path"
    )


def _hub() -> Path:
    """The local Hugging Face cache, where its own library keeps it."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or caches / "huggingface") / "hub")


def _snapshot(name: str) -> Path | None:
    """Where the cache would hold the files of a repository; None if that is no repository's name."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        return None
    repository = _hub() / f"models--{name.replace('/', '--')}"
    main = repository / "refs" / "main"
    return repository / "snapshots" / (main.read_text(encoding="utf-8").strip() if main.is_file() else "main")


def open_tensors(directory: Path) -> dict[str, SafeTensors]:
    """Return, for each tensor of a checkpoint, the opened file that holds it.

    Raises
    ------
    CheckpointError
        If there is no safetensors file, one is damaged, or the index contradicts its shards.
    """
    if (directory / SINGLE).exists():
        file = SafeTensors(directory / SINGLE)
        return dict.fromkeys(file, file)
    index = directory / INDEX
    if not index.exists():
        pickled = sorted(path for path in directory.iterdir() if path.suffix in PICKLES)
        raise CheckpointError(pickle_refusal(pickled[0]) if pickled else f"{directory} holds neither {SINGLE} nor {INDEX}")
    places = read_object(index, CheckpointError).get("weight_map")
    if not isinstance(places, dict):
        raise CheckpointError(f"{index}: weight_map must map names of tensors to files, got {places!r:.40}")
    opened: dict[str, SafeTensors] = {}
    for tensor, shard in places.items():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CheckpointError(f"{index}: weight_map places {tensor!r:.80} in {shard!r:.80}, expected a file of the same directory")
        if shard not in opened:
            opened[shard] = SafeTensors(directory / shard)
        if tensor not in opened[shard]:
            raise CheckpointError(f"{index}: weight_map places {tensor!r:.80} in {shard}, which does not hold it")
    return {tensor: opened[shard] for tensor, shard in places.items()}


def save(
    directory: str | Path, config: dict[str, Any], tensors: Mapping[str, np.ndarray], max_shard_bytes: int | None = None
) -> None:
    """Write a checkpoint: its tensors in one file, or in shards of at most that many bytes (a larger tensor has its own), and config.json.

    An old checkpoint in the directory is replaced only once all of the new one is on disk.

    Raises
    ------
    RunDirectoryError
        If the directory cannot be made or written.
    CheckpointError
        If the dtype has no place in the format.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"cannot write {directory}: {error.strerror or error}") from None
    groups = list(_groups(tensors, max_shard_bytes))
    names = [f"model-{i + 1:05}-of-{len(groups):05}.safetensors" for i in range(len(groups))] if len(groups) > 1 else [SINGLE]
    texts: dict[str, Any] = {"config.json": config}
    if len(groups) > 1:
        places = {name: file for file, group in zip(names, groups, strict=True) for name in group}
        texts[INDEX] = {"metadata": {"total_size": sum(array.nbytes for array in tensors.values())}, "weight_map": places}
    files = [*names, *texts]
    try:  # all is written beside the old files before the first of them is replaced
        for file, group in zip(names, groups, strict=True):
            write_safetensors(directory / (file + NEW), {name: tensors[name] for name in group}, METADATA)
        for file, content in texts.items():
            write_json(directory / (file + NEW), content)
        for file in files:
            os.replace(directory / (file + NEW), directory / file)
        for stale in {SINGLE, INDEX} - set(files):
            (directory / stale).unlink(missing_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"cannot write {directory}: {error.strerror or error}") from None
    finally:
        for file in files:
            (directory / (file + NEW)).unlink(missing_ok=True)


def _groups(tensors: Mapping[str, np.ndarray], limit: int | None) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for name, array in tensors.items():
        if group and limit is not None and size + array.nbytes > limit:
            yield group
            group, size = [], 0
        group.append(name)
        size += array.nbytes
    yield group
