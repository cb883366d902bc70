"""`minillm train --resume`, Ctrl-C, and the files beside a run, as a user meets them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from minillm.cli import main

SMALL = ["--collect-episodes=16", "--fit-steps=4", "--improve-steps=6", "--improve-episodes=16", "--n-embd=16", "--n-head=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("train") / "run"
    assert main(["train", "text/bandit-2-2", "--seed=3", "--out", str(directory), *SMALL]) == 0
    return directory


def test_a_run_is_gone_on_with_and_contradictions_are_named(run, fails, tmp_path, capsys):
    before = (run / "checkpoint.npz").read_bytes()
    assert "seed is 3 in" in fails("train", "--resume", run, "--seed", "4")
    assert "env is 'text/bandit-2-2' in" in fails("train", "text/copy", "--resume", run)
    assert "env_options is {} in" in fails("train", "--resume", run, "--env-option", "slip=0")
    assert "improve_steps is 6 in" in fails("train", "--resume", run, "--improve-steps", "7")
    for option in (["--out", tmp_path / "x"], ["--overwrite"], ["--compare", "rloo"], ["--seeds", "2"]):
        assert f"leave {option[0]} out" in fails("train", "--resume", run, *option)
    assert "no run to go on with" in fails("train", "--resume", tmp_path / "nowhere")
    assert (run / "checkpoint.npz").read_bytes() == before
    assert main(["train", "text/bandit-2-2", "--resume", str(run), "--seed=3", "--improve-steps=6"]) == 0
    assert "after improve" in capsys.readouterr().out
    assert (run / "checkpoint.npz").read_bytes() == before


def test_the_table_of_metrics_stands_beside_the_journal(run):
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    assert header.startswith("phase,step,")
    assert len(rows) == len((run / "metrics.jsonl").read_text().splitlines())


def test_on_nonfinite_is_part_of_the_configuration(tmp_path, fails, capsys):
    out = tmp_path / "run"
    assert main(["train", "text/bandit-2-2", "--out", str(out), *SMALL, "--on-nonfinite", "skip"]) == 0
    assert json.loads((out / "config.json").read_text())["on_nonfinite"] == "skip"
    assert json.loads((out / "summary.json").read_text())["skipped"] == 0
    capsys.readouterr()
    assert "on_nonfinite is 'skip' in" in fails("train", "--resume", out, "--on-nonfinite", "stop")
    assert "invalid choice" in fails("train", "--on-nonfinite", "ignore")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_finishes_the_step_saves_and_exits_130(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["train", "text/bandit-2-2", "--out", str(out), *SMALL, "--improve-steps=100000"]
    process = subprocess.Popen([sys.executable, "-m", "minillm", *arguments], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    log = out / "metrics.jsonl"
    while time.monotonic() < until and not (log.exists() and '"improve", "step": 3,' in log.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = err.strip().splitlines()[-1]
    assert last.startswith("minillm: interrupted after step ")
    assert last.endswith(f"; minillm train --resume {out} goes on")
    assert "Traceback" not in err
    assert main(["evaluate", str(out)]) == 0
    assert main(["play", str(out), "--episodes=1"]) == 0
