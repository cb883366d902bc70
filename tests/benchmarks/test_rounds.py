import time

import pytest

from benchmarks import rounds
from benchmarks.rounds import Row, Side, absent, alternate, compare, present, repeat, row


def test_the_ratio_is_the_median_over_rounds_not_the_ratio_of_medians():
    line = row("case", "peer", [1.0, 2.0, 4.0], [3.0, 2.0, 8.0], aim=2)
    assert (line.ours, line.theirs, line.unit) == (2000, 3000, "ms")
    assert line.ratio == 2  # of 3, 1, 2; the medians give 1.5
    assert line.rounds == 3
    assert line.verdict == "met"


@pytest.mark.parametrize(
    ("ratio", "aim", "multiple", "verdict"),
    [(1.9, 2, False, "missed"), (2, 2, False, "met"), (1.3, 1.25, True, "missed"), (1.25, 1.25, True, "met"), (2, None, False, "")],
)
def test_a_verdict_looks_the_right_way(ratio, aim, multiple, verdict):
    assert Row("", "", ratio=ratio, aim=aim, multiple=multiple).verdict == verdict


def test_a_multiple_is_ours_over_theirs():
    assert row("", "", [3.0], [2.0], multiple=True).ratio == 1.5


def test_rates_are_compared_by_time():
    line = row("", "", [0.1], [0.4], unit="steps/s")
    assert (line.ours, line.theirs, line.ratio) == (10, 2.5, 4)


def test_sides_take_turns(monkeypatch):
    heard = []
    monkeypatch.setattr(rounds, "TURN", 0)
    times = alternate({"a": Side(lambda: heard.append("a")), "b": Side(lambda: heard.append("b"), units=5)}, seconds=0)
    assert "".join(heard) == "aabb" + "ab" * rounds.FEWEST  # each twice before: to warm up, and for its cost
    assert [len(column) for column in times.values()] == [rounds.FEWEST] * 2


def test_quick_calls_are_repeated_and_times_are_a_unit(monkeypatch):
    monkeypatch.setattr(rounds, "TURN", 0.02)
    calls = []

    def call():
        calls.append(0)
        time.sleep(0.001)

    times = alternate({"": Side(call, units=2)}, seconds=0)[""]
    assert len(calls) > 2 + 3 * rounds.FEWEST  # a turn of one call would be too short
    assert 0.0005 <= min(times) < 0.001 * len(calls)


def test_a_line_for_each_peer_with_its_aim():
    lines = compare("case", Side(lambda: None), {"one": Side(lambda: None), "two": Side(lambda: None)}, {"two": 1.5}, 0)
    assert [(line.case, line.peer, line.aim) for line in lines] == [("case", "one", None), ("case", "two", 1.5)]


def test_a_peer_that_is_not_installed_is_said_to_be_missing():
    def broken():
        raise ModuleNotFoundError("No module named 'framework'", name="framework")

    there, missing = present({"one": lambda: 1, "two": broken})
    assert there == {"one": 1}
    assert missing == {"two": "framework is not installed (pip install '.[bench]')"}
    assert absent("case", missing) == [Row("case", "two", missing=missing["two"])]


def test_an_error_of_a_peer_is_not_taken_for_its_absence():
    with pytest.raises(ZeroDivisionError):
        present({"one": lambda: 1 // 0})


def test_wanted_words_choose_the_peers():
    makers = {name: lambda: 1 for name in ("torch eager", "torch.compile", "JAX jit")}
    assert list(present(makers, ["eager", "jax"])[0]) == ["torch eager", "JAX jit"]
    assert list(present(makers)[0]) == list(makers)


def test_long_work_is_repeated_while_there_is_time():
    assert list(repeat(0, 5)) == [0]
    assert list(repeat(100, 3)) == [0, 1, 2]
    assert [number for number in repeat(0.05, 9) if time.sleep(0.02) is None] in ([0], [0, 1])
