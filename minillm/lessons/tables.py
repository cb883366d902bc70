"""Arrays as blocks of text, side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

INDENT = "  "


def block(array: np.ndarray, precision: int = 4) -> list[str]:
    """Return the lines of an array."""
    rounded = np.round(array, precision) + 0.0  # + 0.0: no minus sign before a zero
    text = np.array2string(rounded, precision=precision, suppress_small=True, floatmode="fixed", max_line_width=200)
    return text.splitlines() or [""]


def beside(columns: Mapping[str, np.ndarray], precision: int = 4) -> str:
    """Return arrays in columns under their names."""
    return text_columns({name: block(array, precision) for name, array in columns.items()})


def text_columns(columns: Mapping[str, Sequence[str]]) -> str:
    """Return lists of texts in columns under their names."""
    filled = [[name, *lines] for name, lines in columns.items()]
    widths = [max(map(len, lines)) for lines in filled]
    rows = itertools.zip_longest(*filled, fillvalue="")
    return "\n".join((INDENT + "   ".join(map(str.ljust, row, widths))).rstrip() for row in rows)


def facts(known: Mapping[str, object]) -> str:
    """Return what was measured, a line each."""
    width = max(map(len, known))
    return "\n".join(f"{INDENT}{name:{width}}  {_text(value)}" for name, value in known.items())


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return " ".join(f"{x:.4g}" for x in np.ravel(value))  # type: ignore[call-overload]
