"""The tutorial as HTML: each script's text, its code, and what it printed when the page was made (extra ``docs``)."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

from minillm.lessons import cells
from minillm.lessons.code import ROOT
from minillm.threads import single_threaded_blas

SCRIPTS = ROOT / "minillm" / "tutorial"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body class="tutorial"><p><a href="../index.html">minillm</a></p>{body}</body></html>
"""


def write(directory: Path, hide: Callable[[str], str], style: str) -> list[tuple[Path, str]]:
    """Run the scripts and write a page of each; return the pages with their titles.

    Parameters
    ----------
    directory : Path
        A new directory.
    hide : callable, text → text
        Takes formulas out of the text before it becomes HTML.
    style : str
        CSS.
    """
    import markdown2
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    makers: dict[str, Callable[[str], str]] = {
        "text": lambda part: markdown2.markdown(hide(part)),
        "code": lambda part: f'<pre class="code">{highlight(part, PythonLexer(), HtmlFormatter(nowrap=True))}</pre>',
        "output": lambda part: f'<pre class="output">{html.escape(part)}</pre>',
    }
    directory.mkdir()
    style += HtmlFormatter().get_style_defs("pre.code")
    pages = []
    for script in sorted(SCRIPTS.glob("lesson_*.py")):
        source = script.read_text(encoding="utf-8")
        with single_threaded_blas():
            body = "\n".join(makers[kind](part) for kind, part in cells.run(source, script.name))
        pages.append((directory / f"{script.stem}.html", cells.title(source)))
        pages[-1][0].write_text(PAGE.format(title=html.escape(cells.title(source)), style=style, body=body), encoding="utf-8")
    return pages
