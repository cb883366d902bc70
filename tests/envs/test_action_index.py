import numpy as np
import pytest

from envs.action_index import ActionIndex

SETS = {
    "a column tells": ["left", "down", "right", "up"],
    "the second column tells": ["ab", "ac", "ad"],
    "no column tells": ["", "a", "aa", "ab", "ba", "b"],
    "one string": ["go"],
    "beyond 16 bits": ["\U0001f600x", "\u00e9x", "x"],
}
STRINGS = ["", "a", "ab", "aa", "left", "Left", "left ", "lef", "up", "upp", "uq", "go", "\U0001f600x", "\u00e9", "zzz", "x", "\uffff"]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("width", [1, 2, 5, 9])
def test_equals_a_dictionary(name, width):
    actions = SETS[name]
    find = ActionIndex(np.array(actions))
    texts = np.array([*STRINGS, *actions], dtype=f"U{width}")  # cut to the width
    expected = [actions.index(text) if text in actions else len(actions) for text in texts.tolist()]
    for form in (texts, texts.tolist(), texts.astype(texts.dtype.newbyteorder()), np.repeat(texts, 2)[::2]):
        assert find(form).tolist() == expected
    assert find(texts[:0]).tolist() == []


def test_the_width_of_the_actions_themselves_takes_the_short_way():
    actions = np.array(SETS["a column tells"])
    find = ActionIndex(actions)
    texts = actions[[3, 0, 0, 1]]
    texts[2] = "lefty"
    assert find(texts).tolist() == [3, 0, 4, 1]
    assert not np.shares_memory(find(texts), find._by_point)
