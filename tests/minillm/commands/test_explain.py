"""`minillm explain`."""

from minillm.cli import main
from minillm.lessons import contents


def test_it_lists_and_explains(capsys):
    assert main(["explain"]) == 0
    assert capsys.readouterr().out == contents() + "\n"
    assert main(["explain", "relu"]) == 0
    assert "max(x, 0)" in capsys.readouterr().out


def test_an_unknown_name_is_one_line(fails):
    assert "did you mean rloo" in fails("explain", "rlo")
