"""`minillm train` with estimators, several of them, options of the environment, and the coefficients that it leaves."""

import json

import pytest

from minillm.cli import main
from minillm.experience import read_jsonl

SMALL = ["--collect-episodes=16", "--fit-steps=3", "--improve-steps=2", "--improve-episodes=16", "--n-embd=16", "--n-head=2"]


@pytest.mark.parametrize(
    "options",
    [
        ["--estimator=grpo", "--group=8"], ["--estimator=ppo_clip", "--epochs=2"], ["--estimator=rloo+kl_k3_loss_token", "--epochs=2"],
        ["--estimator=kl_full"], ["--estimator=gae", "--temperature=0.7", "--top-k=5", "--top-p=0.9"],
    ],
)  # fmt: skip
def test_estimators_train_and_what_they_are_is_said(tmp_path, capsys, options):
    out = tmp_path / "run"
    assert main(["train", "text/bandit-2-2", "--out", str(out), *SMALL, *options]) == 0
    capsys.readouterr()
    summary = json.loads((out / "summary.json").read_text())
    assert f"--estimator={summary['estimator']}" == options[0]
    assert main(["evaluate", str(out)]) == 0  # with the sampling of the run
    assert repr(summary["exact"]["improve"]) in capsys.readouterr().out


def test_an_option_of_the_environment_is_played_saved_and_shown(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "grid/frozenlake", "--env-option", "slip=0", "--out", str(out), *SMALL]) == 0
    assert "grid/frozenlake(slip=0), seed 0" in capsys.readouterr().out
    assert json.loads((out / "summary.json").read_text())["exact"]["optimal"] == 1  # nothing slips: the goal for certain
    assert main(["evaluate", str(out)]) == 0
    assert "grid/frozenlake(slip=0)" in capsys.readouterr().out
    assert main(["play", str(out)]) == 0


def test_bad_options_are_one_line(tmp_path, fails):
    assert "NAME=VALUE" in fails("train", "--env-option", "slip")
    assert "slip" in fails("train", "grid/frozenlake-8", "--env-option", "slip=2")
    assert "minillm" in fails("train", "grid/frozenlake-8", "--env-option", "slip=much")
    assert "no option" in fails("train", "grid/frozenlake-8", "--env-option", "ice=1")
    assert "near it" in fails("train", "--estimator", "grpoo")
    assert "needs q" in fails("train", "--estimator", "all_action")
    assert "needs score_norms" in fails("train", "--compare", "rloo,optimal_baseline")
    assert "seeds must be as in 0:20" in fails("train", "--seeds", "3:")
    assert "does not go with --seed" in fails("train", "--seeds", "0:3", "--seed", "1")
    assert "--seeds does not go with --save-coefficients" in fails("train", "--seeds", "0:3", "--save-coefficients")
    assert "--compare does not go with --save-coefficients" in fails("train", "--compare", "rloo", "--save-coefficients")
    assert "does not go with --estimator" in fails("train", "--compare", "rloo", "--estimator", "rloo")
    assert "there is no" in fails("coefficients", tmp_path / "a", tmp_path / "b")


def test_the_coefficients_of_two_methods_are_compared(tmp_path, capsys):
    for name in ("rloo", "reinforce"):
        out = str(tmp_path / name)
        assert main(["train", "text/bandit-2-2", "--out", out, "--estimator", name, "--save-coefficients", *SMALL]) == 0
    capsys.readouterr()
    steps = read_jsonl(tmp_path / "rloo" / "episodes.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "rloo" / "coefficients.jsonl").read_text().splitlines()]
    for line in lines:  # each stands beside the step that it belongs to
        assert steps.take((steps.episodes == line["episode"]) & (steps.steps == line["step"])).actions.tolist() == [line["action"]]
    assert [line["update"] for line in lines] == [0] * 16 + [1] * 16
    assert main(["coefficients", str(tmp_path / "rloo"), str(tmp_path / "rloo")]) == 0
    assert "0 differ" in capsys.readouterr().out
    assert main(["coefficients", str(tmp_path / "rloo"), str(tmp_path / "reinforce"), "--show", "2"]) == 1
    out = capsys.readouterr().out
    assert "compared up to update 1, epoch 0" in out
    assert len(out.splitlines()) == 7


def test_compare_prints_means_bands_and_the_number_of_seeds(tmp_path, capsys, fails, monkeypatch):
    monkeypatch.setenv("MINILLM_EXECUTOR", "serial")
    pytest.importorskip("matplotlib", reason="compare.png needs the extra 'plot'")
    out = tmp_path / "out"
    assert main(["train", "text/bandit-2-2", "--compare", "rloo,reinforce", "--seeds", "2", "--out", str(out), *SMALL]) == 0
    printed = capsys.readouterr().out
    assert "2 seeds each" in printed
    assert "95 % band" in printed
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "already holds" in fails("train", "text/bandit-2-2", "--compare", "rloo", "--out", str(out), *SMALL)


def test_seeds_make_a_study(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["train", "text/bandit-2-2", "--seeds", "2", "--seed", "7", "--executor", "serial", "--out", str(out), *SMALL]) == 0
    assert "text/bandit-2-2  state_rloo     2" in capsys.readouterr().out
    assert [row.split(",")[:2] for row in (out / "runs.csv").read_text().splitlines()[1:]] == [["text/bandit-2-2", "state_rloo"]] * 2
    assert json.loads((out / "config.json").read_text())["seeds"] == [7, 8]
