"""The table of a study: means and Student's intervals over seeds."""

import csv

import numpy as np
import pytest

from minillm.study import make_study
from minillm.study_table import band, runs, settings, text, write

STUDY = make_study({"env": "grid/empty-3", "estimator": ["rloo", "reinforce"], "improve_lr": [0.1, 0.2], "n_embd": 8, "seeds": 3})


def result(value):
    return {"exact": {"uniform": -1.0, "fit": -0.5, "improve": value, "optimal": 4.0}, "episodes": 7, "curve": []}


RESULTS = {key: result(k / 3) for k, key in enumerate(STUDY.jobs())}


def test_the_band_is_students():
    """Of 1, 2, 3: s = 1, and t at 97.5 % with two degrees of freedom is 4.3027 (any printed table)."""
    mean, half = band(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]))
    assert mean.tolist() == [2, 5]
    assert half[0] == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    assert half[1] == 0
    assert np.isnan(band(np.array([[1.0]]))[1]).all()


def test_a_row_for_each_run_and_each_setting():
    rows = runs(STUDY, RESULTS)
    assert len(rows) == 12
    assert rows[5] == {
        "env": "grid/empty-3", "estimator": "rloo", "improve_lr": 0.2, "n_embd": 8, "seed": 2, "episodes": 7, "uniform": -1.0, "fit": -0.5,
        "improve": 5 / 3, "optimal": 4.0,
    }  # fmt: skip
    table = settings(STUDY, RESULTS)
    assert [row["runs"] for row in table] == [3] * 4
    assert table[1]["mean"] == np.mean([3 / 3, 4 / 3, 5 / 3])
    assert table[1]["high"] - table[1]["mean"] == pytest.approx(4.302653 / np.sqrt(3) / 3, rel=1e-6)


def test_what_is_missing_is_left_out():
    some = {key: value for key, value in RESULTS.items() if "rloo" not in key or "seed=0" in key}
    assert [row["runs"] for row in settings(STUDY, some)] == [1, 1, 3, 3]
    assert "one seed, none" in text(STUDY, some)
    assert runs(STUDY, {}) == settings(STUDY, {}) == []
    assert text(STUDY, {}).startswith("exact J after improve, 0 runs")


def test_the_text_shows_what_varies():
    lines = text(STUDY, RESULTS).splitlines()
    assert lines[0] == "exact J after improve, 12 runs"
    assert lines[2].split() == ["env", "estimator", "improve_lr", "runs", "mean", "95", "%", "interval", "J*", "of", "J*"]
    assert lines[3].split()[:5] == ["grid/empty-3", "rloo", "0.1", "3", "0.3333"]
    assert lines[3].endswith("4.0000   8.33%")
    assert len(lines) == 7


def test_files_have_every_digit(tmp_path):
    write(STUDY, RESULTS, tmp_path)
    for name, rows in (("runs.csv", runs(STUDY, RESULTS)), ("table.csv", settings(STUDY, RESULTS))):
        with open(tmp_path / name, newline="") as file:
            assert [{k: type(row[k])(v) for k, v in read.items()} for row, read in zip(rows, csv.DictReader(file), strict=True)] == rows
    write(STUDY, {}, tmp_path)
