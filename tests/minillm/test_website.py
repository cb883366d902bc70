"""The documentation: formulas survive Markdown, equations and code link to each other, nothing comes from a network."""

import re

import pytest

from minillm import website
from minillm.cli import main
from minillm.errors import MissingExtra, RunDirectoryError
from minillm.lessons.code import ROOT, equation_tags


@pytest.fixture
def formulas():
    return website.Formulas(lambda latex, display="inline": f"<math {display}>{latex}</math>")


def test_formulas_are_hidden_and_shown(formulas):
    hidden = formulas.hide(r"With $a_b$ and $$x = y, \qquad y = \frac12 \tag{3}$$ and $2 * 3 * 4$.")
    assert "$" not in hidden
    assert "*" not in hidden
    assert formulas.show(f"<p>{hidden}</p>") == (
        r'<p>With <math inline>a_b</math> and <span class="equation"><math block>x = y,</math><math block>y = \frac12</math>'
        '<a class="tag" id="eq-3" href="#code-3">(3)</a></span> and <math inline>2 * 3 * 4</math>.</p>'
    )
    assert formulas.as_text(hidden) == "With a_b and x = y,\u2003y = ½\u2003(3) and 2 * 3 * 4."


def test_the_modules_are_all_but_scripts():
    names = website.modules()
    assert {"minillm", "envs", "minillm.ops.attention", "envs.grid", "minillm.tutorial"} <= set(names)
    assert not [name for name in names if "lesson_" in name or "__" in name]


def test_without_the_extra_one_line_names_it(fails, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pdoc", None)
    monkeypatch.setitem(__import__("sys").modules, "latex2mathml.converter", None)
    assert "minillm-numpy[docs]" in fails("docs", tmp_path / "site")
    with pytest.raises(MissingExtra):
        website.build(tmp_path / "site")
    assert not (tmp_path / "site").exists()


LESSONS = ["minillm.ops.dropout", "minillm.returns", "minillm.estimators.kl", "envs.grid"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("pdoc", reason="the documentation needs the extra 'docs'")
    pytest.importorskip("latex2mathml", reason="the documentation needs the extra 'docs'")
    directory = tmp_path_factory.mktemp("docs") / "site"
    assert website.build(directory, names=LESSONS) == len(LESSONS) + 1
    return directory


def test_pages_have_formulas_and_load_nothing(site):
    page = (site / "minillm/ops/dropout.html").read_text(encoding="utf-8")
    assert page.count("<math") >= 15
    assert "$S_j" not in page.split("</main>")[0].split('<input id="mod-')[0]
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert website.OPEN not in text
        assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?:https?:)?//", text)
    assert website.OPEN not in (site / "search.js").read_text(encoding="utf-8")


def test_every_equation_leads_to_its_code_and_back(site):
    for name in LESSONS[:3]:
        page = (site / f"{name.replace('.', '/')}.html").read_text(encoding="utf-8")
        tags = equation_tags((ROOT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"))
        assert tags
        for tag in tags:
            assert page.count(f'id="eq-{tag}" href="#code-{tag}"') == 1
            assert page.count(f'<span id="code-{tag}"></span>') == 1
            assert f'href="#eq-{tag}">({tag})' in page


def test_the_first_page_lists_lessons_and_environments(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    lessons, worlds = index.split("<h2>Lessons")[1].split("<h2>Environments")
    assert 'href="minillm/returns.html">minillm.returns</a>' in lessons
    assert 'href="envs/grid.html">envs.grid</a><br>Grid worlds' in worlds


@pytest.mark.slow
def test_the_whole(site, tmp_path, capsys):
    assert main(["docs", str(tmp_path / "site")]) == 0
    pages = len(list((tmp_path / "site").rglob("*.html")))
    assert capsys.readouterr().out == f"{pages} pages; begin with {tmp_path / 'site' / 'index.html'}\n"
    assert pages == len(website.modules()) + 1 + 5
    index, lesson = (tmp_path / "site" / "index.html").read_text("utf-8"), tmp_path / "site" / "tutorial" / "lesson_1_neuron.html"
    assert 'href="tutorial/lesson_1_neuron.html">One neuron&#x27;s gradient</a>' in index
    assert "gradient WRONG" in lesson.read_text(encoding="utf-8")
    for path in (tmp_path / "site").rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert website.OPEN not in page
        text = re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)  # what stands in source code is no link
        for target in re.findall(r'href="(?!https?:|#|\$)([^"#]+)[#"]', text):
            assert (path.parent / target).exists(), (path, target)


def test_a_directory_that_holds_something_is_kept(site, fails):
    before = (site / "index.html").read_text(encoding="utf-8")
    assert "is not empty; --overwrite" in fails("docs", site)
    with pytest.raises(RunDirectoryError):
        website.build(site / "index.html")
    assert (site / "index.html").read_text(encoding="utf-8") == before
    (site / "mine.txt").write_text("mine", encoding="utf-8")
    website.build(site, overwrite=True, names=["envs.grid"])
    assert (site / "mine.txt").exists()
