import pytest

from envs.tables import strings_up_to, tabulate


def build(**changes):
    given = {
        "start": {0: 1.0}, "actions": ["a"], "outcomes": lambda s, a: [(0.5, s + 1, 1), (0.25, s + 1, 1), (0.25, 9, 0)],
        "terminal": lambda s: s in (2, 9), "text": str, "horizon": 4, "invalid_reward": -1.0,
    }  # fmt: skip
    return tabulate("x", **(given | changes))


def test_equal_outcomes_are_merged_and_states_found_breadth_first():
    mdp = build()
    assert mdp.state_texts.tolist() == ["0", "1", "9", "2"]
    assert mdp.probabilities[0, 0].tolist() == [0.75, 0.25]
    assert mdp.rewards[0, 1, 0] == -1
    assert mdp.solve().J == 0.75 + 0.75**2


def test_too_many_states_are_an_error():
    with pytest.raises(ValueError, match="more than 10 states"):
        build(terminal=lambda s: False, limit=10)


def test_strings_up_to():
    assert strings_up_to("ab", 2) == ["", "a", "b", "aa", "ab", "ba", "bb"]
    assert strings_up_to("ab", 1, shortest=1) == ["a", "b"]
