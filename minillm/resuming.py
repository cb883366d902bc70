"""Going on with a run: its configuration, which must not be contradicted, and its metrics up to the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from minillm.checkpoint import write_atomically
from minillm.errors import RunDirectoryError


def read_config(directory: Path) -> dict[str, Any]:
    """Return what ``config.json`` of a run says.

    Raises
    ------
    RunDirectoryError
        If there is no run, or the file is damaged.
    """
    path = directory / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise RunDirectoryError(f"there is no run to go on with in {directory}: {path.name}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path} is damaged: {error}") from None
    if not isinstance(config, dict):
        raise RunDirectoryError(f"{path} is damaged: it holds no object")
    return config


def require_agreement(saved: Mapping[str, Any], given: Mapping[str, Any], directory: Path) -> None:
    """Raise :class:`RunDirectoryError` that names the first key whose given value is not the saved one."""
    for key, value in given.items():
        if key not in saved:
            raise RunDirectoryError(f"{directory / 'config.json'} does not say {key}; it is of another version or kind of run")
        if saved[key] != value:
            raise RunDirectoryError(f"{key} is {saved[key]!r} in {directory / 'config.json'}, which {value!r} contradicts")


def open_metrics(path: Path, step: int) -> IO[str]:
    """Open a file of JSON lines to go on after ``step`` steps: what was written later, or only half, is cut off."""
    kept = []
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):
                break
            kept.append(line)
    write_atomically(path, b"".join(kept))
    return open(path, "a", buffering=1)
