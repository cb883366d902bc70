r"""A journal of JSON lines: what is done is written down, synced, and found again after any end of the process.

Each line carries the CRC-32 of what stands before it, so that a damaged line is never taken for a result. The last line may be torn, by
a crash or a full disk: it is cut off, and what it told is simply done again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from minillm.errors import RunDirectoryError

_SUM = re.compile(rb', "crc": "([0-9a-f]{8})"\}\n')
_SUM_LENGTH = len(', "crc": "01234567"}\n')


class Ledger:
    """An open journal of results; a context manager.

    Parameters
    ----------
    path : Path
        Made when it is not there.

    Attributes
    ----------
    entries : list of dict
        What it held when it was opened.

    Raises
    ------
    RunDirectoryError
        If a line other than the last is damaged, or the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.entries, size = parse(path, path.read_bytes() if path.exists() else b"")
            self._file = io.FileIO(path, "a")
            self._file.truncate(size)
        except OSError as error:
            raise self._trouble(error) from None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # of a line that could not be written, which was said then
            self._file.close()

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Write entries and wait until they are on the disk."""
        data = b"".join(_line(entry) for entry in entries)
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError("only part of a line could be written; is the disk full?")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._trouble(error) from None

    def _trouble(self, error: OSError) -> RunDirectoryError:
        return RunDirectoryError(f"cannot write {self.path}: {error.strerror or error}")


def _line(entry: Mapping[str, Any]) -> bytes:
    body = json.dumps(entry, ensure_ascii=False).encode()
    return body[:-1] + b', "crc": "%08x"}\n' % zlib.crc32(body)


def parse(path: Path, data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the entries of the whole lines in the bytes of a journal, and how many bytes these lines take.

    Raises
    ------
    RunDirectoryError
        If a line other than the last is damaged; the message names ``path`` and the line.
    """
    entries: list[dict[str, Any]] = []
    size = 0
    for number, line in enumerate(io.BytesIO(data), start=1):
        entry = _entry(line)
        if entry is None:
            if size + len(line) < len(data):
                raise RunDirectoryError(f"{path}, line {number}, is damaged; delete that line, and it is computed again")
            break
        entries.append(entry)
        size += len(line)
    return entries, size


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line tells; None if it is torn or damaged."""
    found, body = _SUM.fullmatch(line[-_SUM_LENGTH:]), line[:-_SUM_LENGTH] + b"}"
    if found is None or zlib.crc32(body) != int(found[1], 16):
        return None
    try:
        entry = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
