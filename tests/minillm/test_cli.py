"""The command line as a user meets it: output, one-line errors with status 2, files that are never lost."""

import json
import subprocess
import sys

import numpy as np
import pytest

from minillm import report
from minillm.cli import main

SMALL = ["--collect-episodes=32", "--fit-steps=5", "--improve-steps=3", "--improve-episodes=16", "--n-embd=16", "--n-head=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "grid/empty-3", "--seed", "1", "--out", str(directory), *SMALL]) == 0
    return directory


def test_train_prints_the_table_and_three_episodes(tmp_path, capsys):
    assert main(["train", "grid/empty-3", "--out", str(tmp_path / "run"), *SMALL]) == 0
    out = capsys.readouterr().out
    for line in ("uniform policy", "after fit", "after improve", "optimum J*", "episode 1", "episode 3"):
        assert line in out
    assert (tmp_path / "run" / "summary.json").exists()


def test_evaluate_prints_the_number_of_the_summary(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    assert repr(json.loads((run / "summary.json").read_text())["exact"]["improve"]) in capsys.readouterr().out


def test_play_shows_states_actions_and_rewards(run, capsys):
    assert main(["play", str(run), "--episodes", "2", "--temperature", "0"]) == 0
    out = capsys.readouterr().out
    assert out.count("episode ") == 2
    assert "reward" in out
    assert "exact V(s)" in out
    assert "\x1b" not in out
    assert main(["play", str(run), "--episodes", "2", "--temperature", "0"]) == 0
    assert capsys.readouterr().out == out


def test_play_on_a_terminal_draws_in_place(run, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["play", str(run), "--fast"]) == 0
    assert "\x1b[J" in capsys.readouterr().out
    assert main(["play", str(run), "--plain"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_play_refuses_a_pause_that_is_none(run, fails):
    assert "--pause" in fails("play", run, "--pause", "-1")
    assert "--pause" in fails("play", run, "--pause", "nan")


def test_the_picture_is_a_png(run):
    pytest.importorskip("matplotlib", reason="curve.png needs the extra 'plot'")
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_run_goes_on_and_names_the_extra(tmp_path, capsys, monkeypatch):
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["train", "grid/empty-3", "--out", str(tmp_path / "run"), *SMALL]) == 0
    assert "minillm-numpy[plot]" in capsys.readouterr().out
    assert not (tmp_path / "run" / "curve.png").exists()


@pytest.mark.parametrize(
    ("name", "draws", "command"),
    [
        ("curve.png", "picture", ["train", "grid/empty-3", *SMALL]),
        ("compare.png", "comparison_picture", ["train", "text/bandit-2-2", "--compare", "rloo,reinforce", *SMALL]),
        ("loss.png", "loss_picture", ["fit", "--preset", "micro", "--steps", "2", "--sample-length", "0"]),
    ],
)
def test_when_nobody_reads_the_output_the_picture_is_there_all_the_same(tmp_path, monkeypatch, name, draws, command):
    """As in ``minillm train | head -1``."""
    out = tmp_path / "run"
    monkeypatch.setattr(report, draws, lambda *where: (out / name).write_bytes(b"drawn"))
    monkeypatch.setattr("sys.stdout", ClosedPipe())
    main([*command, "--out", str(out)])
    assert (out / name).read_bytes() == b"drawn"


class ClosedPipe:
    """A standard output whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError

    def isatty(self):
        return False


def test_without_tqdm_plain_lines_show_progress(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["train", "grid/empty-3", "--out", str(tmp_path / "run"), *SMALL]) == 0
    err = capsys.readouterr().err
    assert "improve: 3/3 updates" in err
    assert "fit: 5/5 steps" in err


def test_bad_arguments_are_one_line(fails, tmp_path):
    assert "grid/empty-" in fails("train", "grid/emtpy-5")
    assert "size" in fails("train", "grid/empty-2")
    assert "integer" in fails("train", "--seed", "1.5")
    assert "at least 0" in fails("train", "--seed", "-1")
    assert "at least 1" in fails("train", "--improve-steps", "0")
    assert "n_head" in fails("train", "--n-embd", "10", "--n-head", "4", "--out", tmp_path / "x")
    assert "no run directory" in fails("evaluate", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_bad_sampling_options_are_one_line(fails, run):
    assert "temperature" in fails("play", run, "--temperature", "-1")
    assert "top_k" in fails("play", run, "--top-k", "0")
    assert "top_p" in fails("play", run, "--top-p", "0")


def test_a_used_directory_is_kept_unless_told(fails, run):
    before = (run / "checkpoint.npz").read_bytes()
    assert "--overwrite" in fails("train", "grid/empty-3", "--out", run, *SMALL)
    assert (run / "checkpoint.npz").read_bytes() == before


def test_overwrite_deletes_a_run_and_nothing_else(capsys, tmp_path, fails):
    directory = tmp_path / "run"
    arguments = ["train", "grid/empty-3", "--out", str(directory), *SMALL]
    assert main(arguments) == 0
    (directory / "thesis.txt").write_text("mine")
    capsys.readouterr()
    assert "thesis.txt" in fails(*arguments, "--overwrite")
    assert (directory / "checkpoint.npz").exists()
    (directory / "thesis.txt").unlink()
    assert main([*arguments, "--overwrite", "--seed", "5"]) == 0
    assert json.loads((directory / "summary.json").read_text())["seed"] == 5


def test_a_wrong_configuration_neither_makes_a_directory_nor_deletes_a_run(fails, tmp_path, run):
    wrong = ["--n-embd", "10", "--n-head", "4"]
    assert "n_head" in fails("train", "--out", tmp_path / "new", *wrong)
    assert not (tmp_path / "new").exists()
    before = (run / "checkpoint.npz").read_bytes()
    assert "n_head" in fails("train", "--out", run, "--overwrite", *wrong)
    assert (run / "checkpoint.npz").read_bytes() == before


def test_an_unwritable_directory_is_one_line(fails, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot use" in fails("train", "--out", tmp_path / "file" / "run")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", None])
def test_a_damaged_checkpoint_is_one_line(fails, tmp_path, run, damage):
    whole = (run / "checkpoint.npz").read_bytes()
    (tmp_path / "checkpoint.npz").write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert "checkpoint.npz" in fails("evaluate", tmp_path)


def test_a_foreign_archive_is_one_line(fails, tmp_path):
    np.savez(tmp_path / "checkpoint.npz", x=np.zeros(3))
    assert "not a checkpoint" in fails("evaluate", tmp_path)


def test_a_learning_rate_that_explodes_is_one_line(tmp_path):
    arguments = ["train", "grid/empty-3", "--out", str(tmp_path / "run"), *SMALL, "--improve-lr", "1e30"]
    done = subprocess.run([sys.executable, "-m", "minillm", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("minillm: ")
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


def test_a_foreign_package_named_envs_is_named(tmp_path):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from minillm.cli import main; sys.exit(main(['train']))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1


def test_importing_needs_numpy_and_scipy_alone():
    code = """
import importlib.abc, sys
known = set(sys.stdlib_module_names) | {"minillm", "envs", "numpy", "scipy"}

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in known and not name.startswith("_"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Nothing())
import minillm, envs, minillm.run, minillm.cli, minillm.report, minillm.text_run, minillm.inspection, minillm.lab.gates
from minillm.errors import MissingExtra
from minillm.plots import learning_curve
try:
    learning_curve(None, [(0, 0.0)], 0.0, 1.0, "")
except MissingExtra as missing:
    print(missing)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "minillm-numpy[plot]" in done.stdout


def test_envs_prints_the_exact_facts(capsys):
    assert main(["envs", "--json"]) == 0
    cards = {card["id"]: card for card in json.loads(capsys.readouterr().out)}
    assert {"grid/empty-5", "text/bandit-3-3", "grid/frozenlake"} <= set(cards)


def test_oracle_writes_cases_and_compares(capsys, tmp_path, fails):
    assert main(["oracle", str(tmp_path / "cases")]) == 0
    paths = capsys.readouterr().out.split()
    assert paths
    with np.load(paths[0]) as case:
        given = {f"{paths[0].split('/')[-1].removesuffix('.npz')}/logits": case["logits"]}
    np.savez(tmp_path / "mine.npz", **given)
    assert main(["oracle", "compare", str(tmp_path / "cases"), str(tmp_path / "mine.npz")]) == 0
    np.savez(tmp_path / "mine.npz", **{key: value + 1e-6 for key, value in given.items()})
    assert main(["oracle", "compare", str(tmp_path / "cases"), str(tmp_path / "mine.npz")]) == 1
    assert "logits" in capsys.readouterr().out
    assert "oracle takes DIR" in fails("oracle", "a", "b")
