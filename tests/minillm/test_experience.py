import dataclasses
import io
import json

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.experience import IGNORE, Experience, concatenate, read_jsonl, write_jsonl


def experience():
    return Experience(
        states=np.array(["a\n", "é", ""]),
        actions=np.array(["x", "", "\"y\" 👩"]),
        next_states=np.array(["b", "c", "\\"]),
        rewards=np.array([0.1, -1 / 3, 1e-300]),
        terminated=np.array([False, True, False]),
        truncated=np.array([False, False, True]),
        log_probs=np.array([[-0.5, -1e-9, 0.0], [-np.inf, 0.0, 0.0], [-0.25, -0.0, -3.0]]),
        action_ids=np.array([[4, 9, IGNORE], [9, IGNORE, IGNORE], [1, 2, 3]]),
        episodes=np.array([0, 0, 1]),
        steps=np.array([0, 1, 0]),
    )


def assert_same(a, b):
    for field in dataclasses.fields(Experience):
        left, right = getattr(a, field.name), getattr(b, field.name)
        assert left.dtype.kind == right.dtype.kind, field.name
        assert left.tolist() == right.tolist(), field.name


def test_json_lines_round_trip(tmp_path):
    path = tmp_path / "episodes.jsonl"
    with path.open("w", encoding="utf-8") as file:
        write_jsonl(file, experience())
    assert_same(read_jsonl(path), experience())
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


def test_a_line_holds_one_step_under_singular_names():
    file = io.StringIO()
    write_jsonl(file, experience(), first_episode=10)
    step = json.loads(file.getvalue().splitlines()[2])
    assert step["state"] == ""
    assert step["action"] == '"y" 👩'
    assert step["next_state"] == "\\"
    assert step["episode"] == 11
    assert step["action_ids"] == [1, 2, 3]
    assert step["log_probs"] == [-0.25, 0.0, -3.0]
    assert step["truncated"] is True
    assert set(step) == {
        "state", "action", "next_state", "reward", "terminated", "truncated", "log_probs", "action_ids", "episode",
        "step",
    }  # fmt: skip


def test_concatenating_is_appending_with_episodes_counted_on(tmp_path):
    path = tmp_path / "episodes.jsonl"
    short = experience().take(np.array([1]))
    short = dataclasses.replace(short, action_ids=short.action_ids[:, :1], log_probs=short.log_probs[:, :1])
    with path.open("w", encoding="utf-8") as file:
        write_jsonl(file, short)
        write_jsonl(file, experience(), first_episode=1)
    joined = concatenate([short, experience()])
    assert joined.action_ids.shape == (4, 3)
    assert joined.action_ids[0].tolist() == [9, IGNORE, IGNORE]
    assert_same(read_jsonl(path), joined)


def test_returns_sum_the_rewards_of_each_episode():
    np.testing.assert_allclose(experience().returns(), [0.1 - 1 / 3, 1e-300], rtol=1e-15)
    assert len(experience()) == 3
    assert experience().take(np.array([True, False, True])).actions.tolist() == ["x", '"y" 👩']


GOOD = {
    "state": "a", "action": "b", "next_state": "c", "reward": 1.0, "terminated": True, "truncated": False,
    "log_probs": [-1.0], "action_ids": [1], "episode": 0, "step": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "[]", "null", "3", '"text"', json.dumps({k: v for k, v in GOOD.items() if k != "reward"}),
        json.dumps(GOOD | {"action_ids": 5}), json.dumps(GOOD | {"action_ids": ["a"]}),
        json.dumps(GOOD | {"reward": "1"}), json.dumps(GOOD | {"state": None}), json.dumps(GOOD | {"episode": 0.5}),
        json.dumps(GOOD | {"terminated": 1}), json.dumps(GOOD | {"log_probs": [-1.0, -2.0]}),
        "[" * 100_000,
        "\udcff",
    ],
)  # fmt: skip
def test_a_line_that_is_no_step_is_named(tmp_path, line):
    path = tmp_path / "foreign.jsonl"
    path.write_bytes((json.dumps(GOOD) + "\n" + line + "\n").encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"foreign\.jsonl, line 2: not a step of experience"):
        read_jsonl(path)


def test_a_file_without_steps_is_named(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.touch()
    with pytest.raises(UserError, match=r"empty\.jsonl holds no steps"):
        read_jsonl(path)


def test_whole_numbers_are_numbers(tmp_path):
    path = tmp_path / "whole.jsonl"
    path.write_text(json.dumps(GOOD | {"reward": 1, "log_probs": [0]}) + "\n", encoding="utf-8")
    assert read_jsonl(path).rewards.dtype == np.float64
    assert read_jsonl(path).log_probs.dtype == np.float64
    assert read_jsonl(path).action_ids.dtype == np.int64
