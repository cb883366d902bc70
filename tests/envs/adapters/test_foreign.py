import pytest

import envs
from envs.adapters import from_gymnasium, from_reasoning_gym, from_textworld


class Game:
    scores = (1, 2, 3, 4, 5, 6, 7, 7, 8)

    def reset(self):
        self.time = 0
        return "start", {}

    def step(self, command):
        command.encode("utf-8")
        self.time += 1
        return f"turn {self.time}", self.scores[self.time - 1], self.time == 9, {}


def test_textworlds_score_is_cumulative():
    env = from_textworld(Game())
    for _ in range(2):
        assert env.reset()[0] == "start"
        assert [env.step("look")[1] for _ in range(9)] == [1, 1, 1, 1, 1, 1, 1, 0, 1]
        with pytest.raises(envs.ResetNeeded):
            env.step("look")


def test_no_text_stops_a_textworld_game():
    env = from_textworld(Game())
    env.reset()
    assert env.step("\ud800\0 look\n")[0] == "turn 1"


def test_from_gymnasium_keeps_the_protocol():
    gymnasium = pytest.importorskip("gymnasium")
    env = from_gymnasium(gymnasium.make("FrozenLake-v1"), str, ["left", "down", "right", "up"], horizon=30)
    assert envs.check(env) == ["protocol", "seeding", "render"]
    start, _ = env.reset(seed=0)
    assert env.step("Left")[:4] == (start, -0.1, False, False)


def test_reasoning_gym_seeds_do_not_overlap():
    pytest.importorskip("reasoning_gym")
    env = from_reasoning_gym("chain_sum", size=5, seed=1)
    questions = [env.reset()[0] for _ in range(5)]
    others = [env.reset(seed=2)[0]] + [env.reset()[0] for _ in range(4)]
    assert not set(questions) & set(others)
    assert env.step("x")[2:4] == (True, False)


def test_the_seed_of_make_is_that_of_the_first_reset():
    pytest.importorskip("minigrid")
    name = "gymnasium:MiniGrid-DoorKey-5x5-v0"
    for seed in range(4):
        made = envs.make(name, seed, table=False, seeds=50)
        assert made.reset()[0] == envs.make(name, table=False, seeds=50).reset(seed=seed)[0]
