r"""The documentation as HTML that works offline: pdoc's pages, formulas as MathML, each lesson's code beside its equations (extra ``docs``).

Formulas are taken out of the docstrings before Markdown sees them and put back into the finished pages, as MathML, which browsers draw
themselves: no script, no font, nothing from a network. An equation's number leads to the line of code that computes it, and back.
"""

from __future__ import annotations

import ast
import html
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minillm.errors import MissingExtra, RunDirectoryError
from minillm.lessons import pages
from minillm.lessons.code import ROOT, code_tags, equation_tags, tagged_code
from minillm.lessons.formulas import unicode_formula
from minillm.lessons.prose import FORMULA, first_line

PACKAGES = ("minillm", "envs")
RUN_ON_IMPORT = re.compile(r"\.__main__$|\.tutorial\.lesson_")
STYLE = Path(__file__).parent / "data" / "docs.css"
OPEN, CLOSE = "\ue000", "\ue001"  # around the number of a formula that was taken out
TIGHT = r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>'  # | and / without space around them
FOLLOWS = r"<mi>|<ms(?:ub|up)><m[io]>(?!&#x0028)|<mo>&#x0(?:2207|2211);"  # a letter, ∇ or Σ
NAMED = re.compile(f"(<mi>(?:log|exp|max|min|tanh|cos|sin)</mi>)(?={FOLLOWS})")  # a space comes after these
HIDDEN = re.compile(f"{OPEN}(\\d+){CLOSE}")


def modules() -> list[str]:
    """Return the names of all modules of the two packages, except for scripts, which run when they are imported."""
    files = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
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
    formulas, style = Formulas(latex.convert), STYLE.read_text(encoding="utf-8")
    footer = "minillm: formulas are MathML, nothing is loaded from a network"
    pdoc.render.configure(docformat="numpy", include_undocumented=False, footer_text=footer)
    templates: Any = pdoc.render.env.loader
    pdoc.render.env.loader = ChoiceLoader([DictLoader({"custom.css": style}), templates])
    plain: Callable[[str, Any, str], str] = pdoc.render_helpers.to_markdown

    def to_markdown(context: Any, docstring: str) -> str:
        return plain(formulas.hide(docstring), context["module"], context["docformat"])

    pdoc.render.env.filters["to_markdown"] = _with_context(to_markdown)
    with tempfile.TemporaryDirectory() as made, warnings.catch_warnings():
        for known in ("The module specification", "Error parsing type annotation"):  # named twice; a NamedTuple's own __init__
            warnings.filterwarnings("ignore", known)
        pdoc.pdoc(*(modules() if names is None else names), f"!.*({RUN_ON_IMPORT.pattern})", output_directory=Path(made))
        scripts = pages.write(Path(made) / "tutorial", formulas.hide, style) if names is None else []
        written = _finish(Path(made), formulas, [(path.relative_to(made), title) for path, title in scripts])
        try:
            shutil.copytree(made, directory, dirs_exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"{directory} cannot be written: {error}") from None
    return written


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
        if not display:
            return self._converted(latex)
        tags = re.findall(r"\\tag\{(\d+)\}", latex)
        equations = re.sub(r"\s*\\tag\{\d+\}", "", latex).split("\\qquad")
        shown = "".join(self._converted(equation.strip(), display="block") for equation in equations)
        numbers = "".join(f'<a class="tag" id="eq-{n}" href="#code-{n}">({n})</a>' for n in tags)
        return f'<span class="equation">{shown}{numbers}</span>'


    def _converted(self, latex: str, **options: str) -> str:
        """MathML, with brackets that grow, and with spaces as TeX has them."""
        growing = re.sub(r"\\[bB]igg?([)\]])", r"\\right\1", re.sub(r"\\[bB]igg?([(\[])", r"\\left\1", latex))
        mathml = re.sub(r"<mo(?: stretchy=\"false\")?>(&#x0007C;|&#x0002F;)</mo>", TIGHT, self._convert(growing, **options))
        letters = re.sub(r"<mo>(&#x0221E;|&#x02202;)</mo>", r"<mi>\1</mi>", mathml)  # ∞ and ∂ are no operators with space around
        return NAMED.sub(r'\1<mspace width="0.167em" />', letters)


def _with_context(function: Callable[..., str]) -> Callable[..., str]:
    from jinja2 import pass_context

    return pass_context(function)


def _finish(directory: Path, formulas: Formulas, scripts: list[tuple[Path, str]]) -> int:
    """Put the formulas back, the code beside them, and the lessons and scripts on the first page."""
    paths = sorted(directory.rglob("*.html"))
    for path in paths:
        page = path.read_text(encoding="utf-8")
        if OPEN in page:
            path.write_text(_code_beside(formulas.show(page), path.relative_to(directory)), encoding="utf-8")
    search = directory / "search.js"
    if search.exists():
        search.write_text(formulas.as_text(search.read_text(encoding="utf-8")), encoding="utf-8")
    index = directory / "index.html"
    index.write_text(_with_lessons(index.read_text(encoding="utf-8"), directory, scripts), encoding="utf-8")
    return len(paths)


def _code_beside(page: str, where: Path) -> str:
    """Add the tagged code of the module, where it has any, beside its docstring."""
    source = _source(where)
    if not equation_tags(source):
        return page
    at = page.index('<input id="mod-')
    return f"{page[:at]}{_lesson_code(source, where)}{page[at:]}"


def _source(where: Path) -> str:
    """The source of the module that a page is about; empty for the first page."""
    for path in (ROOT / where.with_suffix(".py"), ROOT / where.with_suffix("") / "__init__.py"):
        if path.exists():
            return path.read_text(encoding="utf-8")
    return ""


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


def _with_lessons(index: str, directory: Path, scripts: list[tuple[Path, str]]) -> str:
    """Put the name, and lists of the scripts, the lessons and the environments, on the first page."""
    paths = [path.relative_to(directory) for path in sorted(directory.rglob("*.html"))]
    lessons = [where for where in paths if 'class="lesson-code' in (directory / where).read_text(encoding="utf-8")]
    worlds = [where for where in paths if where.parts[0] == "envs" and len(where.parts) == 2]
    sections = _section("The method in five scripts", [_link(where, title) for where, title in scripts]) if scripts else ""
    sections += _section("Lessons: the maths beside the code", [_described(where) for where in lessons])
    sections += _section("Environments", [_described(where) for where in worlds])
    named = re.sub(r'<a href="https://pdoc.dev">\s*<img.*?</a>', "<h1>minillm</h1>&emsp;", index, count=1, flags=re.DOTALL)
    return named.replace("</main>", f"{sections}</main>", 1)


def _section(title: str, items: list[str]) -> str:
    return f'<section><h2>{title}</h2><ul class="lessons"><li>{"</li><li>".join(items)}</li></ul></section>'


def _link(where: Path, text: str) -> str:
    return f'<a href="{where.as_posix()}">{html.escape(text)}</a>'


def _described(where: Path) -> str:
    summary = first_line(ast.get_docstring(ast.parse(_source(where))) or "")
    return f"{_link(where, '.'.join(where.with_suffix('').parts))}<br>{html.escape(summary)}"
