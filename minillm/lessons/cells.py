"""Scripts in cells (``# %%``), run one after another and shown with what they print."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from minillm.lessons.prose import readable

MARK = re.compile(r"^# %%(?P<text> \[markdown\])?.*\n", re.MULTILINE)
MARGIN = {"code": "  │ ", "output": "  "}


class Cell(NamedTuple):
    """A cell: its text (markdown) or its code, and the line at which it begins."""

    is_text: bool
    source: str
    line: int


def cells(script: str) -> list[Cell]:
    """Cut a script at its ``# %%`` lines; what stands above the first one is passed over."""
    found = list(MARK.finditer(script))
    ends = [*(mark.start() for mark in found[1:]), len(script)]
    made = []
    for mark, end in zip(found, ends, strict=True):
        body = script[mark.end() : end]
        blank = len(body) - len(body.lstrip("\n"))
        made.append(Cell(bool(mark["text"]), body.strip("\n"), script.count("\n", 0, mark.end() + blank)))
    return made


def run(script: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a script as they come: ("text", markdown), ("code", source) and ("output", what the code printed).

    Parameters
    ----------
    script : str
    name : str
        What messages call the file.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells(script):
        if cell.is_text:
            yield "text", re.sub(r"^# ?", "", cell.source, flags=re.MULTILINE)
            continue
        yield "code", cell.source
        printed = io.StringIO()
        gap = "\n" * cell.line  # so that a traceback names the right line
        with contextlib.redirect_stdout(printed):
            exec(compile(gap + cell.source, name, "exec"), names)
        if printed.getvalue():
            yield "output", printed.getvalue().rstrip("\n")


def as_text(kind: str, part: str) -> str:
    """Return a part for a terminal: text filled, code behind a bar, output indented."""
    if kind == "text":
        text = readable(part.replace("`", "``"))
        return re.sub(r"^# (.+)$", lambda found: f"{found[1]}\n{'=' * len(found[1])}", text, flags=re.MULTILINE)
    return "\n".join((MARGIN[kind] + line).rstrip() for line in part.split("\n"))


def title(script: str) -> str:
    """Return the first heading of a script."""
    return re.search(r"^# # (.+)$", script, re.MULTILINE)[1]  # type: ignore[index]
