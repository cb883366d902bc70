"""`minillm study` on the command line."""

import csv
import json

import pytest

from minillm.cli import main

SMALL = ["--collect-episodes=16", "--fit-steps=2", "--improve-steps=2", "--improve-episodes=16", "--n-embd=8", "--n-head=2"]
TOML = """
env = ["text/bandit-2-1", "text/bandit-2-2"]
seeds = "0:2"
collect_episodes = 16
fit_steps = 2
improve_steps = 2
improve_episodes = 16
n_embd = 8
n_head = 2
"""


@pytest.fixture(autouse=True)
def serial(monkeypatch):
    monkeypatch.setenv("MINILLM_EXECUTOR", "serial")


def test_a_study_of_the_command_line(tmp_path, capsys, fails):
    command = ["study", "text/bandit-2-1,text/bandit-2-2", "--seeds", "0:2", "--estimator", "rloo,reinforce", *SMALL]
    assert main([*command, "--improve-lr", "1e-3,1e-2", "--out", str(tmp_path / "s")]) == 0
    printed = capsys.readouterr().out
    assert "exact J after improve, 16 runs" in printed
    with open(tmp_path / "s" / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["runs"] for row in rows] == ["2"] * 8
    assert {(row["env"], row["estimator"], row["improve_lr"]) for row in rows} == {
        (f"text/bandit-2-{n}", name, rate) for n in (1, 2) for name in ("rloo", "reinforce") for rate in ("0.001", "0.01")
    }
    assert main(["study", "--resume", str(tmp_path / "s")]) == 0
    assert capsys.readouterr().out == printed
    assert "improve_lr is [0.001, 0.01] in" in fails("study", "--resume", tmp_path / "s", "--improve-lr", "1")
    assert "already holds" in fails(*command, "--out", tmp_path / "s")
    assert "goes on in DIR" in fails("study", "--resume", tmp_path / "s", "--out", tmp_path / "t")


def test_a_file_and_what_the_command_line_adds(tmp_path, capsys):
    (tmp_path / "study.toml").write_text(TOML)
    assert main(["study", str(tmp_path / "study.toml"), "--estimator", "rloo", "--out", str(tmp_path / "s")]) == 0
    assert json.loads((tmp_path / "s" / "config.json").read_text())["estimator"] == ["rloo"]
    assert main(["study", str(tmp_path / "study.toml"), "--estimator", "rloo", "--resume", str(tmp_path / "s")]) == 0
    assert "text/bandit-2-2  rloo          2" in capsys.readouterr().out


def test_options_of_environments_are_an_axis(tmp_path, capsys, monkeypatch):
    result = {"exact": dict.fromkeys(("uniform", "fit", "improve", "optimal"), 1.0), "episodes": 1, "curve": []}
    monkeypatch.setattr("minillm.study.train_once", lambda config: result)
    options = ["--env-option", "slip=0,0.5", "--out", str(tmp_path / "s")]
    assert main(["study", "grid/frozenlake", *options, *SMALL]) == 0
    assert "env_options.slip" in capsys.readouterr().out
    assert [json.loads(line)["config"]["env_options"] for line in (tmp_path / "s" / "journal.jsonl").read_text().splitlines()] == [
        {"slip": 0}, {"slip": 0.5},
    ]  # fmt: skip


def test_mistakes_are_one_line(tmp_path, fails):
    (tmp_path / "study.toml").write_text("improve_lrs = 1")
    assert "no key 'improve_lrs'; near it: improve_lr" in fails("study", tmp_path / "study.toml")
    (tmp_path / "study.toml").write_text("improve_lr = ")
    assert "is not TOML" in fails("study", tmp_path / "study.toml")
    assert "cannot read" in fails("study", tmp_path / "nowhere.toml")
    assert "must be at least 1" in fails("study", "--improve-steps", "3,0")
    assert "seeds must be" in fails("study", "--seeds", "3:3")
    assert "NAME=VALUE" in fails("study", "--env-option", "slip")
    assert "an executor is serial, process" in fails("study", "text/bandit-2-1", "--executor", "here", "--out", tmp_path / "s", *SMALL)


def test_a_run_that_fails_is_exit_status_1_and_is_tried_again(tmp_path, capsys, monkeypatch):
    from minillm.study import train_once

    def train(config):
        if config["seed"] == 1:
            raise OSError("no space left")
        return train_once(config)

    command = ["study", "text/bandit-2-1", "--seeds", "0:3", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr("minillm.study.train_once", train)
        assert main([*command, "--out", str(tmp_path / "s")]) == 1
    printed = capsys.readouterr()
    assert "exact J after improve, 2 runs" in printed.out
    assert "minillm: env=text/bandit-2-1 estimator=state_rloo seed=1 failed: OSError: no space left" in printed.err.splitlines()
    assert main(["study", "--resume", str(tmp_path / "s")]) == 0
    assert "exact J after improve, 3 runs" in capsys.readouterr().out
