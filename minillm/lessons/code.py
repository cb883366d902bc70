r"""A function as it stands in its file, without its docstring; and the numbers by which equations and code lines find each other.

An equation of a docstring carries ``\tag{3}``; the line of code that computes it ends with a comment that has ``(3)`` in it.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minillm.lessons.prose import FORMULA

ROOT = Path(__file__).resolve().parents[2]


def equation_tags(source: str) -> list[str]:
    r"""Return the numbers of the equations in the docstrings of a module's source, in the order in which they stand."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    equations = [found["display"] or "" for text in texts for found in FORMULA.finditer(text)]
    return [tag for equation in equations for tag in re.findall(r"\\tag\{(\d+)\}", equation)]


def code_tags(source: str) -> dict[int, list[str]]:
    """Return, for each line with a comment that names equations, their numbers."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: re.findall(r"(?<!\w)\((\d+)\)", token.string) for token in tokens if token.type == tokenize.COMMENT}
    return {line: tags for line, tags in comments.items() if tags}


def code_of(thing: Callable[..., Any]) -> str:
    """Return the source of a function without its docstring, in the indentation of the file's left margin."""
    text = textwrap.dedent(inspect.getsource(thing))
    lines = text.splitlines()
    hidden = _docstring_lines(ast.parse(text).body[0], lines)
    return "\n".join(line for number, line in enumerate(lines, start=1) if number not in hidden).rstrip()


def place_of(thing: Any) -> str:
    """Return ``minillm/ops/attention.py:33``, where a function or a module stands."""
    path = inspect.getsourcefile(thing)
    line = "" if inspect.ismodule(thing) else f":{inspect.getsourcelines(thing)[1]}"
    return f"{Path(path or '').resolve().relative_to(ROOT).as_posix()}{line}"


def tagged_code(source: str) -> list[list[tuple[int, str]]]:
    """Return the functions (methods, statements) of a module in which lines name equations, as numbered lines without docstrings."""
    tags, lines = code_tags(source), source.splitlines()
    pieces = []
    for node in _units(ast.parse(source)):
        inside = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if any(line in tags for line in inside):
            hidden = _docstring_lines(node, lines)
            pieces.append([(number, lines[number - 1]) for number in inside if number not in hidden])
    return pieces


def _units(tree: ast.Module) -> Iterator[ast.stmt]:
    """Top-level statements, and in the place of each class its statements."""
    for node in tree.body:
        yield from node.body if isinstance(node, ast.ClassDef) else [node]


def _docstring_lines(node: ast.AST, lines: list[str]) -> range:
    """The lines of a function's docstring, with the empty ones after it."""
    if not isinstance(node, ast.FunctionDef) or ast.get_docstring(node) is None:
        return range(0)
    after = (node.body[0].end_lineno or node.body[0].lineno) + 1
    while after <= len(lines) and not lines[after - 1].strip():
        after += 1
    return range(node.body[0].lineno, after)
