import argparse
import json

import pytest

from benchmarks import machine, report
from benchmarks.rounds import Row

ROWS = [
    Row("micro", "torch", 1.25, 2.5, "ms", 2.0, 1.9, rounds=3), Row("micro", "JAX", missing="jax is not installed"),
    Row("micro", "products", 3.0, 2.0, "ms", 1.5, 1.25, True, 3), Row("arrays", "", 12.0, unit="MB"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "words"),
    list(zip(ROWS, ["micro torch 1.25 2.50 ms × 2.00 ≥ 1.9 3 met", "micro JAX missing: jax is not installed",
               "micro products 3.00 2.00 ms ÷ 1.50 ≤ 1.25 3 missed", "arrays 12.00 MB"], strict=True)),
)  # fmt: skip
def test_a_line_of_the_table(row, words):
    assert report.line(row).split() == words.split()


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.5000"), (2, "2.00"), (123.45, "123.5"), (98765.4, "98,765"), (None, "")])
def test_about_four_digits(value, text):
    assert report.number(value).strip() == text


def test_the_table_says_where_it_was_measured(capsys):
    report.show(argparse.Namespace(json=False, threads=1), "train", "a step", iter(ROWS))
    out = capsys.readouterr().out
    for word in ("train: a step", "1 thread(s) on", machine.processor(), "BLAS", "numpy", "torch", "jax", "micro", "missing: jax"):
        assert word in out


def test_json_is_one_object(capsys):
    report.show(argparse.Namespace(json=True, threads=2), "train", "a step", iter(ROWS))
    found = json.loads(capsys.readouterr().out)
    assert (found["benchmark"], found["threads"]) == ("train", 2)
    assert {"processor", "BLAS", "versions", "system"} <= set(found)
    assert [row["verdict"] for row in found["rows"]] == ["met", "", "missed", ""]
    assert found["rows"][1]["missing"] == "jax is not installed"


def test_a_package_that_is_not_there_has_the_version_missing():
    assert machine.version("no-such-package-of-minillm") == "missing"
    assert machine.version("numpy")[0].isdigit()
