import json
import sys

import pytest

from minillm.cli import main
from minillm.commands.plot import KINDS

SMALL = ["--collect-episodes", "16", "--fit-steps", "3", "--improve-steps", "2", "--improve-episodes=16", "--n-embd=8", "--n-layer=1"]
OF_RUNS = ("attention", "curve", "policy", "visits")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("plot") / "run"
    assert main(["train", "grid/empty-3", "--out", str(directory), *SMALL]) == 0
    return directory


@pytest.mark.parametrize("kind", OF_RUNS)
def test_pictures_of_a_run(kind, run, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pictures need the extra 'plot'")
    path = tmp_path / "x.png"
    assert main(["plot", kind, str(run), "--out", str(path)]) == 0
    assert capsys.readouterr().out.split() == [str(path)]
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [["steps"], ["gradient", "--estimators", "rloo"], ["landscape", "text/bandit-2-1", "--steps", "3"]])
def test_pictures_of_the_instruments(arguments, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="pictures need the extra 'plot'")
    monkeypatch.chdir(tmp_path)
    assert main(["plot", *arguments]) == 0
    assert (tmp_path / f"{arguments[0]}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["estimators", "mutants"])
def test_pictures_of_the_tables(kind, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need the extra 'plot'")
    assert main(["plot", kind, "--out", str(tmp_path / "x.png")]) == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", KINDS)
def test_without_matplotlib_the_extra_is_named_before_any_work(kind, run, fails, monkeypatch):
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, module, None)
    assert "minillm-numpy[plot]" in fails("plot", kind, *([run] if kind in OF_RUNS else []))


def test_errors_name_what_is_wrong(run, fails, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need the extra 'plot'")
    assert "nowhere" in fails("plot", "curve", tmp_path / "nowhere")
    assert "nowhere" in fails("plot", "policy", tmp_path / "nowhere")
    assert "reinforce" in fails("plot", "gradient", "--estimators", "reinforse")
    facts = json.loads((run / "summary.json").read_text())
    del facts["exact"]
    (tmp_path / "summary.json").write_text(json.dumps(facts))
    (tmp_path / "metrics.jsonl").write_text("")
    assert "no finished run" in fails("plot", "curve", tmp_path)
