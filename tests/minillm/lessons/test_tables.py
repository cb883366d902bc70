"""Arrays and measurements as text."""

import numpy as np

from minillm.lessons.tables import beside, block, facts, text_columns


def test_arrays_stand_side_by_side():
    text = beside({"x": np.array([[1.0, -2.0], [0.5, 1e-17]]), "longer name": np.array([3.0])}, precision=1)
    assert text.split("\n") == ["  x               longer name", "  [[ 1.0 -2.0]    [3.0]", "   [ 0.5  0.0]]"]


def test_no_minus_before_zero():
    assert block(np.array([-1e-9, -0.0])) == ["[0.0000 0.0000]"]


def test_facts_and_columns():
    assert facts({"a": 0.5, "longer": np.array([1e-17, 2.0]), "text": "yes"}) == "  a       0.5\n  longer  1e-17 2\n  text    yes"
    assert text_columns({"a": ["1", "22", "3"], "b": ["x"]}) == "  a    b\n  1    x\n  22\n  3"
