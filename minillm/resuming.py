"""Going on with a run: its configuration, which must not be contradicted, and its metrics up to the checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
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


class Metrics:
    """A file of JSON lines that goes on after ``step`` steps: what was written later, or only half, is cut off.

    Raises
    ------
    RunDirectoryError
        If the file cannot be written, or the disk is full.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        write_atomically(path, b"".join(_lines(path, step)))
        self._file: IO[str] = self._try(lambda: path.open("a", buffering=1, encoding="utf-8"))

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # of a line that could not be written, which was said then
            self._file.close()

    def write(self, facts: Mapping[str, Any]) -> None:
        """Add a line; ``facts`` say which ``step`` they belong to."""
        self._try(lambda: self._file.write(json.dumps(facts) + "\n"))

    def sync(self) -> None:
        """Wait until the lines are on the disk."""
        self._try(lambda: os.fsync(self._file.fileno()))

    def _try(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except OSError as error:
            raise RunDirectoryError(f"cannot write {self.path}: {error.strerror or error}") from None


def _lines(path: Path, step: int) -> list[bytes]:
    """The whole lines of a file up to a step."""
    kept: list[bytes] = []
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):
                break
            kept.append(line)
    return kept
