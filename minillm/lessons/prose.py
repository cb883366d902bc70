r"""Docstrings as text for a terminal: formulas in Unicode, equations on lines of their own, paragraphs filled to a width."""

from __future__ import annotations

import inspect
import re
import textwrap

from minillm.lessons.formulas import GAP, unicode_formula

FORMULA = re.compile(r"\$\$(?P<display>.+?)\$\$(?P<stop>[.,;:]?)|\$(?P<inline>[^$]+)\$", re.DOTALL)
WIDTH, INDENT, LONG = 96, "    ", 40
HELD = "\u00a0"  # a space at which no line is broken


def readable(docstring: str, width: int = WIDTH) -> str:
    """Return a docstring as plain text.

    Parameters
    ----------
    docstring : str
        Paragraphs, lists, ``$…$`` and ``$$…$$``, numpydoc sections (kept line by line), roles such as ``:func:`x```.
    width : int
        Columns to fill.
    """
    text, at = "", 0
    source = inspect.cleandoc(docstring)
    for found in FORMULA.finditer(source):
        text += _plain(source[at : found.start()])
        text += _display(found["display"], width) if found["display"] else _inline(found["inline"])
        at = found.end()
    text += _plain(source[at:])
    return "\n\n".join(_filled(part, width) for part in re.split(r"\n[ \n]*\n", text) if part.strip()).replace(HELD, " ")


def first_line(docstring: str) -> str:
    """Return the first sentence of a docstring, without its last full stop, on one line."""
    words = " ".join(readable(docstring.split("\n\n")[0], 10_000).split())
    words = re.sub(r" \([^()]*\b(?:19|20)\d\d\b[^()]*\)", "", words)  # a source
    return re.split(r"(?<=[^.A-Z&])\. (?=[A-Z])", words)[0].rstrip(".:")


def _inline(latex: str) -> str:
    """A formula that no line is broken in, unless it is long."""
    text = unicode_formula(latex)
    return text if len(text) > LONG else text.replace(" ", HELD)


def _display(latex: str, width: int) -> str:
    equations = unicode_formula(latex)
    one_line = INDENT + equations.replace(GAP, "   ")
    lines = [one_line] if len(one_line) <= width else [INDENT + line for line in _one_each(equations.split(GAP))]
    return "\n\n" + "\n".join(lines) + "\n\n"


def _one_each(equations: list[str]) -> list[str]:
    """One equation a line; the number of the last one stays beside it."""
    *most, last = equations
    return [*most[:-1], f"{most[-1]}   {last}"] if re.fullmatch(r"\(\d+\)", last) else equations


def _plain(text: str) -> str:
    text = re.sub(r":[a-z]+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    text = re.sub(r"(?<![\w*])\*\*?(?=\S)([^*]+?)(?<=\S)\*\*?(?![\w*])", r"\1", text)
    return text.replace("``", "")


def _filled(part: str, width: int) -> str:
    """Fill a paragraph or each item of a list; leave what is indented or underlined as it stands."""
    lines = part.strip("\n").split("\n")
    if all(line.startswith("    ") for line in lines) or any(re.fullmatch(r"-{3,}", line) for line in lines):
        return "\n".join(lines)
    filled = []
    for item in re.split(r"\n(?=[*] |\d+\. )", "\n".join(lines)):
        hanging = " " * len(re.match(r"([*] |\d+\. )?", item)[0])  # type: ignore[index]
        words = re.sub(r"[ \n]+", " ", item.replace(GAP, HELD * 3))
        filled.append(textwrap.fill(words, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False))
    return "\n".join(filled)
