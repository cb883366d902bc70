"""Lessons are found by name; a name that is near is suggested."""

import pytest

from minillm import ops
from minillm.errors import UserError
from minillm.estimators import ESTIMATORS
from minillm.lessons import contents, find, lessons


def test_there_is_a_lesson_on_everything_that_is_promised():
    known = set(lessons())
    assert {"transformer", "expected_reward", "reinforce", "cross_entropy", "complex_step"} <= known
    assert set(ESTIMATORS) <= known
    assert len(known & set(ops.__all__)) >= 10


def test_the_list_has_a_line_for_each():
    lines = contents().split("\n")
    for name, lesson in lessons().items():
        assert any(line.split() == [name, *lesson.summary.split()] for line in lines), name
    assert max(map(len, lines)) < 160


@pytest.mark.parametrize(
    ("given", "name"),
    [("Attention", "attention"), ("reinforce-loo", "rloo"), ("layernorm_backward", "layernorm"), ("complex step", "complex_step"),
     ("PPO", "ppo_clip"), ("reinforce++", "reinforce++"), ("block", "transformer"), (" grpo ", "grpo")],
)  # fmt: skip
def test_names_as_people_write_them(given, name):
    assert find(given).name == name


def test_near_misses_are_suggested():
    with pytest.raises(UserError, match=r"no lesson 'atention': did you mean attention"):
        find("atention")
    with pytest.raises(UserError, match=r"no lesson 'xyzzy': minillm explain lists them"):
        find("xyzzy")


@pytest.mark.parametrize("name", [name for name, lesson in lessons().items() if name not in ESTIMATORS or name == "reinforce"])
def test_a_lesson_is_whole(name):
    text = find(name).text()
    assert "\nCode\n====\n" in text
    assert "\nLive\n====\n" in text
    assert "minillm/" in text
    assert "$" not in text.split("\nCode\n")[0]
