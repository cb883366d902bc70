"""What a run that is to go on finds in its directory: a configuration, which nothing may contradict, and the last checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from minillm import checkpoint
from minillm.errors import CheckpointError, RunDirectoryError


class Dataclass(Protocol):
    """What :func:`pick` returns one of."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Config = TypeVar("Config", bound=Dataclass)


def found_run(directory: Path, given: Mapping[str, Any]) -> tuple[dict[str, Any], checkpoint.Checkpoint | None]:
    """Return what ``config.json`` says, and the last checkpoint, or None for a run that had none yet.

    Raises
    ------
    RunDirectoryError, CheckpointError
        If there is no run, one of its files is damaged, or what was asked for, or what the checkpoint says, contradicts
        ``config.json``; the message names the key.
    """
    saved, path = read_config(directory), directory / "checkpoint.npz"
    require_agreement(saved, given, directory)
    if not path.exists():
        return saved, None
    found = checkpoint.load(path)
    run = found.facts.get("run")
    if found.optimizer is None or not isinstance(run, dict):
        raise CheckpointError(f"{path} is not of a run that can go on")
    require_agreement(saved, run, directory)
    return saved, found


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
            raise RunDirectoryError(f"{key} is {saved[key]!r:.200} in {directory / 'config.json'}, which {value!r:.200} contradicts")


def pick(kind: type[Config], saved: Mapping[str, Any], directory: Path) -> Config:
    """Return the configuration of a kind that ``config.json`` holds.

    Raises
    ------
    RunDirectoryError
        If a key is missing.
    UserError
        If a value is out of range.
    """
    names = list(kind.__dataclass_fields__)
    missing = [name for name in names if name not in saved]
    if missing:
        raise RunDirectoryError(f"{directory / 'config.json'} does not say {missing[0]}; it is of another version or kind of run")
    return kind(**{name: saved[name] for name in names})
