r"""The documentation as HTML that works offline: pdoc's pages, formulas as MathML, each lesson's code beside its equations (extra ``docs``).

Formulas are taken out of the docstrings before Markdown sees them and put back into the finished pages, as MathML, which browsers draw
themselves: no script, no font, nothing from a network. An equation's number leads to the line of code that computes it, and back.
"""

from __future__ import annotations

import html
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minillm.errors import MissingExtra, RunDirectoryError
from minillm.lessons.code import code_tags, equation_tags, tagged_code
from minillm.lessons.formulas import unicode_formula
from minillm.lessons.prose import FORMULA

PACKAGES = ("minillm", "envs")
RUN_ON_IMPORT = re.compile(r"\.__main__$|\.tutorial\.lesson_")
STYLE = Path(__file__).parent / "data" / "docs.css"
OPEN, CLOSE = "\ue000", "\ue001"  # around the number of a formula that was taken out
HIDDEN = re.compile(f"{OPEN}(\\d+){CLOSE}")


def modules() -> list[str]:
    """Return the names of all modules of the two packages, except for scripts, which run when they are imported."""
    root = Path(__file__).parents[1]
    files = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
    names = [".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in files]
    return [name for name in names if not RUN_ON_IMPORT.search(name)]


def build(directory: Path, overwrite: bool = False, names: Sequence[str] | None = None) -> int:
    """Write the pages, ``index.html`` first of all, and return how many there are.

    Parameters
    ----------
    directory : Path
    overwrite : bool
        Write into a directory that holds something; files of the same names are replaced, nothing is deleted.
    names : sequence of str, optional
        Modules; all when None.

    Raises
    ------
    MissingExtra
        If pdoc or latex2mathml is not installed.
    RunDirectoryError
        If the directory holds something and ``overwrite`` is false, or cannot be written.
    """
    try:
        import latex2mathml.converter as latex
        import pdoc
        from jinja2 import ChoiceLoader, DictLoader
    except ImportError as error:
        raise MissingExtra("the documentation", str(error.name).split(".")[0], "docs") from None
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())) and not overwrite:
        raise RunDirectoryError(f"{directory} is not empty; --overwrite writes the pages into it")
    formulas = Formulas(latex.convert)
    pdoc.render.configure(docformat="numpy", footer_text="minillm: formulas are MathML, nothing is loaded from a network")
    pdoc.render.env.loader = ChoiceLoader([DictLoader({"custom.css": STYLE.read_text(encoding="utf-8")}), pdoc.render.env.loader])
    plain: Callable[[str, Any, str], str] = pdoc.render_helpers.to_markdown

    def to_markdown(context: Any, docstring: str) -> str:
        return plain(formulas.hide(docstring), context["module"], context["docformat"])

    pdoc.render.env.filters["to_markdown"] = _with_context(to_markdown)
    with tempfile.TemporaryDirectory() as made, warnings.catch_warnings():
        for known in ("The module specification", "Error parsing type annotation"):  # named twice; a NamedTuple's own __init__
            warnings.filterwarnings("ignore", known)
        pdoc.pdoc(*(modules() if names is None else names), output_directory=Path(made))
        pages = _finish(Path(made), formulas)
        try:
            shutil.copytree(made, directory, dirs_exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"{directory} cannot be written: {error}") from None
    return pages


class Formulas:
    """Formulas that were taken out of texts, by number.

    Parameters
    ----------
    convert : callable, LaTeX → MathML
    """

    def __init__(self, convert: Callable[..., str]) -> None:
        self._convert = convert
        self._known: list[tuple[str, bool]] = []

    def hide(self, text: str) -> str:
        """Return the text with a mark in the place of each formula."""

        def mark(found: re.Match[str]) -> str:
            self._known.append((found["display"] or found["inline"], bool(found["display"])))
            return f"{OPEN}{len(self._known) - 1}{CLOSE}{found['stop'] or ''}"

        return FORMULA.sub(mark, text)

    def show(self, page: str) -> str:
        """Return a page with MathML in the place of the marks."""
        return HIDDEN.sub(lambda found: self._mathml(*self._known[int(found[1])]), page)

    def as_text(self, page: str) -> str:
        """Return a text with Unicode in the place of the marks."""
        return HIDDEN.sub(lambda found: unicode_formula(self._known[int(found[1])][0]), page)

    def _mathml(self, latex: str, display: bool) -> str:
        bare = re.sub(r"\s*\\tag\{\d+\}", "", latex)
        if not display:
            return self._convert(bare)
        numbers = "".join(f'<a class="tag" href="#code-{n}">({n})</a>' for n in re.findall(r"\\tag\{(\d+)\}", latex))
        here = "".join(f' id="eq-{n}"' for n in re.findall(r"\\tag\{(\d+)\}", latex)[:1])
        return f'<span class="equation"{here}>{self._convert(bare, display="block")}{numbers}</span>'


def _with_context(function: Callable[..., str]) -> Callable[..., str]:
    from jinja2 import pass_context

    return pass_context(function)


def _finish(directory: Path, formulas: Formulas) -> int:
    """Put the formulas back, the code beside them, and the lessons on the first page."""
    pages = sorted(directory.rglob("*.html"))
    for path in pages:
        page = path.read_text(encoding="utf-8")
        if OPEN in page:
            path.write_text(_code_beside(formulas.show(page), path.relative_to(directory)), encoding="utf-8")
    search = directory / "search.js"
    if search.exists():
        search.write_text(formulas.as_text(search.read_text(encoding="utf-8")), encoding="utf-8")
    index = directory / "index.html"
    index.write_text(_with_lessons(index.read_text(encoding="utf-8"), directory), encoding="utf-8")
    return len(pages)


def _code_beside(page: str, where: Path) -> str:
    """Add the tagged code of the module, where it has any, beside its docstring."""
    source_file = Path(__file__).parents[1] / where.with_suffix(".py")
    source = source_file.read_text(encoding="utf-8") if source_file.exists() else ""
    if not equation_tags(source):
        return page
    at = page.index('<input id="mod-')
    return f"{page[:at]}{_lesson_code(source, where)}{page[at:]}"


def _lesson_code(source: str, where: Path) -> str:
    import pygments
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    tags, first = code_tags(source), set()
    blocks = []
    for piece in tagged_code(source):
        text = "\n".join(line for _, line in piece)
        lines = pygments.highlight(text, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).split("\n")
        shown = []
        for (number, _), line in zip(piece, lines, strict=False):
            named = tags.get(number, [])
            for n in named:
                line = line.replace(f"({n})", f'<a class="tag" href="#eq-{n}">({n})</a>')
            anchors = "".join(f'<span id="code-{n}"></span>' for n in named if n not in first)
            first.update(named)
            shown.append(f'{anchors}<span class="linenos">{number:3}</span>{line}')
        blocks.append("<pre>" + "\n".join(shown) + "</pre>")
    title = html.escape(where.with_suffix(".py").as_posix())
    return f'<div class="lesson-code pdoc-code codehilite" style="display:block"><h4>{title}</h4>{"".join(blocks)}</div>\n'


def _with_lessons(index: str, directory: Path) -> str:
    """Put a list of the lessons, those pages that have code beside maths, on the first page."""
    links = []
    for path in sorted(directory.rglob("*.html")):
        page = path.read_text(encoding="utf-8")
        if 'class="lesson-code' in page:
            where = path.relative_to(directory)
            links.append(f'<li><a href="{where.as_posix()}">{".".join(where.with_suffix("").parts)}</a></li>')
    section = f'<section><h2>Lessons: the maths beside the code</h2><ul class="lessons">{"".join(links)}</ul></section>'
    return index.replace("</main>", f"{section}</main>", 1)
