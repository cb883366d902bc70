"""`minillm tutorial`: five short scripts that run, and say what is so."""

import re
from pathlib import Path

import pytest

import minillm
from minillm.cli import main

SCRIPTS = sorted((Path(minillm.__file__).parent / "tutorial").glob("lesson_*.py"))


def test_five_scripts_of_fewer_than_80_lines():
    assert [script.name[:8] for script in SCRIPTS] == [f"lesson_{n}" for n in range(1, 6)]
    assert max(len(script.read_text(encoding="utf-8").splitlines()) for script in SCRIPTS) < 80


def test_the_list(capsys):
    assert main(["tutorial"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:3] for line in lines[:5]] == ["1  ", "2  ", "3  ", "4  ", "5  "]
    assert all(script.name in line for script, line in zip(SCRIPTS, lines, strict=False))


def test_code_is_the_script(capsys):
    assert main(["tutorial", "2", "--code"]) == 0
    assert capsys.readouterr().out == SCRIPTS[1].read_text(encoding="utf-8")


@pytest.fixture
def lesson(capsys):
    def printed(number):
        assert main(["tutorial", str(number)]) == 0
        return capsys.readouterr().out

    return printed


def test_lesson_1(lesson):
    text = lesson(1)
    assert "gradient right" in text
    assert "gradient WRONG" in text
    losses = [float(x) for x in re.findall(r"step +\d+  loss (\S+)", text)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-6


def test_lesson_2(lesson):
    text = lesson(2)
    assert "gradient right" in text
    assert "WRONG" not in text
    assert float(re.search(r"row sums of dx of LayerNorm (\S+)\n", text)[1]) < 1e-14


def test_lesson_3(lesson):
    text = lesson(3)
    assert "change of earlier logits: 0.0" in text
    assert float(re.findall(r"step +120  loss (\S+)", text)[0]) < 0.1


def test_lesson_4(lesson):
    text = lesson(4)
    for name, share in (("none", "1.000"), ("leave_one_out", "1.000"), ("mean", "0.500")):
        assert re.search(rf"baseline {name} +mean .* of the exact {share}", text)
    assert "value 0.0, J 0.467" in text


def test_lesson_5(lesson):
    text = lesson(5)
    values = [float(x) for x in re.findall(r"J (-?\d\.\d+)", text)]
    assert values[0] < 0 < values[2] < 0.5 < 0.7 < values[-1] < 0.9
    assert "the best possible 0.9000" in text


def test_no_such_lesson(fails):
    assert "lessons 1 to 5, got 6" in fails("tutorial", "6")
    assert "invalid int value: 'x'" in fails("tutorial", "x")
