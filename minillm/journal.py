"""Files of lines that only grow, and what a checkpoint remembers of them."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from minillm.errors import RunDirectoryError, require_integer

PIECE = 1 << 20


class Journal:
    """A file of lines that goes on behind a mark: what stands there, written later or only half, is cut off.

    Parameters
    ----------
    path : Path
    mark : (int, int)
        How many bytes there were when a checkpoint was written, and their CRC-32.

    Raises
    ------
    RunDirectoryError
        If the file cannot be written, the disk is full, or the bytes before the mark are not those that were written.
    """

    def __init__(self, path: Path, mark: tuple[int, int] = (0, 0)) -> None:
        self.path, (self.size, self.crc) = path, mark
        self._file: IO[bytes] = self._try(self._open)

    def _open(self) -> IO[bytes]:
        file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b")
        try:
            left, crc = self.size, 0
            while left and (piece := file.read(min(left, PIECE))):
                left, crc = left - len(piece), zlib.crc32(piece, crc)
            if left or crc != self.crc:
                raise RunDirectoryError(f"{self.path} is not as its run wrote it: of its first {self.size} bytes some are gone or changed")
            file.seek(self.size)
            file.truncate()
        except BaseException:
            file.close()
            raise
        return file

    def writelines(self, lines: Iterable[str]) -> None:
        """Add whole lines, which a reader sees at once."""
        data = "".join(lines).encode()
        self._try(lambda: (self._file.write(data), self._file.flush()))
        self.size, self.crc = self.size + len(data), zlib.crc32(data, self.crc)

    def sync(self) -> tuple[int, int]:
        """Wait until the lines are on the disk, and return the mark."""
        self._try(lambda: os.fsync(self._file.fileno()))
        return self.size, self.crc

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # of a line that could not be written, which was said then
            self._file.close()

    def _try(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except OSError as error:
            raise RunDirectoryError(f"cannot write {self.path}: {error.strerror or error}") from None


def read_mark(value: Any) -> tuple[int, int]:
    """Return the mark that a checkpoint holds as JSON; what is no mark is a ValueError or TypeError."""
    size, crc = value
    return require_integer("a journal's size", size, 0), require_integer("a journal's sum", crc, 0)
