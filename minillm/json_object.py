"""One JSON object from a file that somebody else wrote."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

from minillm.errors import UserError


def read_object(path: Path, error: type[UserError]) -> dict[str, Any]:
    """Return the JSON object that a file holds; ``error`` is the class of what is raised.

    Raises
    ------
    UserError
        If the file cannot be read or is not such a file; the message names it.
    """
    try:
        data = path.read_bytes()
    except OSError as reason:
        raise error(f"cannot read {path}: {reason.strerror or reason}") from None
    return parse_object(data, str(path), error)


def parse_object(data: bytes, where: str, error: type[UserError]) -> dict[str, Any]:
    """Return the JSON object that ``data`` holds; messages begin with ``where``.

    Raises
    ------
    UserError
        If it is not UTF-8, not JSON, not an object, or gives a key twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = collections.Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise error(f"{where} gives {twice!r:.80} twice")
        return found

    try:
        value = json.loads(data.decode(), object_pairs_hook=unique)
    except UserError:
        raise
    except (ValueError, RecursionError) as reason:
        raise error(f"{where} is not JSON in UTF-8 ({reason!s:.80})") from None
    if not isinstance(value, dict):
        raise error(f"{where} must hold a JSON object, got {value!r:.40}")
    return value
