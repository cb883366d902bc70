"""The table of the command: its numbers, and that a label that is not true shows."""

import dataclasses
import json

import pytest

from minillm.cli import main
from minillm.estimators import ESTIMATORS
from minillm.lab import estimators

SOME = ("reinforce", "mean_baseline", "rloo", "grpo", "kl_k1_loss_token", "all_action")


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(estimators, "ESTIMATORS", {name: ESTIMATORS[name] for name in SOME})
    return estimators.ESTIMATORS


def test_the_command_prints_a_line_with_the_label_of_each_estimator(few, capsys):
    assert main(["estimators"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert "J = 0.8167721908" in lines[0]
    for name, estimator in few.items():
        measured, formula = (line for line in lines if line.split(" ")[0] == name)
        assert estimator.objective in measured
        assert estimator.formula in formula
        assert estimator.source in formula
    assert "NOT PROVED" not in captured.out
    assert "estimators" in captured.err  # progress


@pytest.mark.parametrize("G", [2, 3])
def test_the_rows_as_json(few, capsys, G):
    assert main(["estimators", "--json", "--group", str(G)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["group"] == G
    rows = {row["name"]: row for row in printed["estimators"]}
    assert list(rows) == list(SOME)
    assert rows["mean_baseline"]["error"] == pytest.approx(1 / G, abs=1e-12)
    assert rows["mean_baseline"]["cosine"] == pytest.approx(1)
    assert rows["mean_baseline"]["bias"] < 1e-12
    assert rows["grpo"]["bias"] is None
    assert rows["grpo"]["asymmetry"] > 1e-3
    assert rows["reinforce"]["asymmetry"] is None
    assert rows["kl_k1_loss_token"]["cosine"] == 0
    assert rows["kl_k1_loss_token"]["error"] == pytest.approx(1)
    assert rows["all_action"]["variance"] == pytest.approx(0.146, abs=5e-4)
    assert rows["reinforce"]["noise_scale"] == pytest.approx(2.377 / 0.8106**2, rel=1e-3)
    assert all(row["proved"] for row in rows.values())


def test_a_label_that_is_not_true_shows_and_the_status_is_1(few, capsys):
    few["rloo"] = dataclasses.replace(ESTIMATORS["mean_baseline"], name="rloo", objective="∇J")
    assert main(["estimators"]) == 1
    marked = [line for line in capsys.readouterr().out.splitlines() if "NOT PROVED" in line]
    assert [line.split()[0] for line in marked] == ["rloo"]
    assert "0.50" in marked[0]


def test_a_group_that_is_too_large_is_one_line(capsys):
    with pytest.raises(SystemExit) as error:
        main(["estimators", "--group", "9"])
    assert error.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
