import numpy as np
import pytest

import envs
from envs.programs import HIDDEN, run_robot, run_rpn


@pytest.mark.parametrize(("program", "value"), [("x", 3), ("xx*", 9), ("x1+x*", 12)])
def test_stack_programs(program, value):
    assert run_rpn(program, 3) == value


@pytest.mark.parametrize("program", ["", "x+", "xx", "y", "x" + "1+" * 50])
def test_programs_that_fail(program):
    assert run_rpn(program, 3) is None


def test_rpn_reward_is_the_share_of_hidden_tests():
    mdp = envs.exact("code/rpn")
    square = mdp.state_texts.tolist().index("2>4 3>9")
    rewards = dict(zip(mdp.action_texts.tolist(), mdp.rewards[square, :-1, 0], strict=True))
    assert rewards["xx*"] == 1
    for program, paid in rewards.items():
        assert paid == np.mean([run_rpn(program, x) == x * x for x in HIDDEN])
    assert rewards[""] == rewards["+"] == 0
    assert (mdp.rewards[:-1, :-1, 0].max(-1) == 1).all()


def test_robot_is_the_open_loop_twin_of_the_grid():
    robot, grid = envs.exact("code/robot"), envs.exact("grid/empty-3")
    assert pytest.approx(grid.solve().J, rel=1e-13) == robot.solve().J
    distance = ((1 - grid.solve().V[0, ~grid.terminal]) / 0.05).round().astype(int)
    for s, d in enumerate(distance):
        best = robot.action_texts[np.isclose(robot.rewards[s, :-1, 0], 1 - 0.05 * d)].tolist()
        assert {len(program) for program in best} == {d}
    assert run_robot("", (0, 0), (0, 1), 3) == 0
    assert run_robot("rd", (0, 0), (0, 1), 3) == 0.9
