"""The metrics of a run: read again, as a table for spreadsheets, and in TensorBoard."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minillm.checkpoint import write_atomically
from minillm.errors import MissingExtra, UserError


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """Return the records of ``metrics.jsonl``.

    Raises
    ------
    UserError
        If the file cannot be read or a line is no object; the message names the line.
    """
    path, records = directory / "metrics.jsonl", []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    for number, line in enumerate(lines, start=1):
        try:
            records.append(dict(json.loads(line)))
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not a record of metrics ({error!r:.120})") from None
    return records


def write_csv(directory: Path) -> None:
    """Write ``metrics.csv`` from ``metrics.jsonl``: a row a record, and a column for each key in the order in which they appear."""
    records = read_metrics(directory)
    columns = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(records)
    write_atomically(directory / "metrics.csv", text.getvalue().encode())


class Board:
    """The metrics of a run in TensorBoard's files beside the others.

    Raises
    ------
    MissingExtra
        Without tensorboardX.
    """

    def __init__(self) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise MissingExtra("--tensorboard", "tensorboardX", "tensorboard") from None
        self._writer: Any = None
        self._writer_of = SummaryWriter

    def open(self, directory: Path, step: int) -> Any:
        """Return the writer, a context manager; what an earlier process wrote beyond ``step`` is hidden."""
        self._writer = self._writer_of(str(directory), purge_step=step + 1)
        return self._writer

    def add(self, step: int, facts: Mapping[str, Any]) -> None:
        """Add the numbers of a record, under the name of its phase if it has one, and its texts."""
        for name, value in facts.items():
            tag = f"{facts['phase']}/{name}" if "phase" in facts else name
            if isinstance(value, str) and name != "phase":
                self._writer.add_text(tag, value, step)
            elif isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(tag, value, step)
