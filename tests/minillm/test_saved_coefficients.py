"""Coefficients written, read back and compared."""

import json

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.saved_coefficients import compare, read_coefficients, write_coefficients


@pytest.fixture
def saved(tmp_path, random_decisions):
    """``saved(name, c)``: a file with the coefficients of twelve decisions."""
    tokenizer, experience, _ = random_decisions()

    def save(name, c):
        with open(tmp_path / name, "w") as file:
            write_coefficients(file, experience, c, tokenizer, update=3, epoch=1, first_episode=100)
        return tmp_path / name

    return experience, save


def test_what_is_written_is_read(saved):
    experience, save = saved
    for axes in ((), (4,)):
        c = np.random.default_rng(0).normal(size=(*experience.action_ids.shape, *axes))
        steps = list(read_coefficients(save("a", c)))
        assert len(steps) == len(experience)
        for k, step in enumerate(steps):
            ids = experience.action_ids[k][experience.action_ids[k] >= 0]
            assert step.key == (3, 1, 100 + k, 0)
            assert step.ids == tuple(ids)
            assert step.state == experience.states[k]
            assert (step.c == c[k, : len(ids)]).all()


def test_the_first_tokens_that_differ_are_found(saved):
    experience, save = saved
    c = np.ones(experience.action_ids.shape)
    other = c.copy()
    other[4, 0], other[7, 0], c[9, 0] = 2, 0, 1 + 1e-15  # the last is rounding
    found = compare(read_coefficients(save("a", c)), read_coefficients(save("b", other)), shown=1)
    assert (found.different, found.zeros, found.parted) == (2, [0, 1], None)
    assert found.tokens == (experience.action_ids >= 0).sum()
    [(a, b, t)] = found.first
    assert (a.key, t, a.c[0], b.c[0]) == ((3, 1, 104, 0), 0, 1, 2)
    same = compare(read_coefficients(save("a", c)), read_coefficients(save("a", c)))
    assert (same.different, same.first) == (0, [])


def test_the_comparison_ends_where_the_two_played_differently(saved):
    experience, save = saved
    path = save("a", np.ones(experience.action_ids.shape))
    lines = path.read_text().splitlines()
    changed = json.loads(lines[5]) | {"state": "elsewhere"}
    other = path.with_name("b")
    other.write_text("\n".join([*lines[:5], json.dumps(changed), *lines[6:]]))
    found = compare(read_coefficients(path), read_coefficients(other))
    assert found.parted == (3, 1, 105, 0)
    assert found.tokens == (experience.action_ids[:5] >= 0).sum()


@pytest.mark.parametrize("line", ["", "{", "[]", '{"update": 0}', "null"])
def test_a_line_that_is_no_step_is_named(saved, line):
    experience, save = saved
    path = save("a", np.ones(experience.action_ids.shape))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match=r"a, line 13: not a step with coefficients"):
        list(read_coefficients(path))


def test_what_cannot_be_compared_is_said(saved, tmp_path):
    experience, save = saved
    a, b = save("a", np.ones(experience.action_ids.shape)), save("b", np.ones((*experience.action_ids.shape, 4)))
    with pytest.raises(UserError, match="one has a coefficient a token and the other one a token of the vocabulary"):
        compare(read_coefficients(a), read_coefficients(b))
    with pytest.raises(UserError, match=r"there is no .*nowhere"):
        list(read_coefficients(tmp_path / "nowhere"))
