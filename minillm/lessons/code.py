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
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def equation_tags(source: str) -> list[str]:
    r"""Return the numbers of the equations in the docstrings of a module's source, in the order in which they stand."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    return [tag for text in texts for tag in re.findall(r"\\tag\{(\d+)\}", text)]


def code_tags(source: str) -> dict[int, list[str]]:
    """Return, for each line with a comment that names equations, their numbers."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: re.findall(r"(?<!\w)\((\d+)\)", token.string) for token in tokens if token.type == tokenize.COMMENT}
    return {line: tags for line, tags in comments.items() if tags}


def code_of(thing: Callable[..., Any]) -> str:
    """Return the source of a function without its docstring, in the indentation of the file's left margin."""
    text = textwrap.dedent(inspect.getsource(thing))
    node = ast.parse(text).body[0]
    if not isinstance(node, ast.FunctionDef) or ast.get_docstring(node) is None:
        return text.rstrip()
    lines, docstring = text.splitlines(), node.body[0]
    end = docstring.end_lineno or docstring.lineno
    del lines[docstring.lineno - 1 : end + (not "".join(lines[end : end + 1]).strip())]
    return "\n".join(lines).rstrip()


def place_of(thing: Any) -> str:
    """Return ``minillm/ops/attention.py:33``, where a function or a module stands."""
    path = inspect.getsourcefile(thing)
    line = "" if inspect.ismodule(thing) else f":{inspect.getsourcelines(thing)[1]}"
    return f"{Path(path or '').resolve().relative_to(ROOT).as_posix()}{line}"
