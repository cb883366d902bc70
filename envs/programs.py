r"""Automatic programming: a stack program for shown examples, and a whole program for the grid robot."""

import numpy as np

from envs.core import register
from envs.grid import GOAL_REWARD, MOVES, STEP_COST, empty, move
from envs.mdp import ExactMDP
from envs.tables import one_step, strings_up_to

SYMBOLS = "x1+*"
SHOWN, HIDDEN = (2, 3), (0, 1, 4, 5, 7)
LETTERS = {action[0]: action for action in MOVES}


def run_rpn(program: str, x: int, max_steps: int = 100) -> int | None:
    """Run a stack program: `x` and `1` push, `+` and `*` combine the two on top; None if it fails.

    It fails if the stack runs empty, if not exactly one number is left, at an unknown symbol, or after `max_steps`.
    """
    stack: list[int] = []
    if len(program) > max_steps:
        return None
    for symbol in program:
        if symbol in ("x", "1"):
            stack.append(x if symbol == "x" else 1)
        elif symbol in ("+", "*") and len(stack) >= 2:
            b, a = stack.pop(), stack.pop()
            stack.append(a + b if symbol == "+" else a * b)
        else:
            return None
    return stack[0] if len(stack) == 1 else None


def rpn(id: str, L: int = 5) -> ExactMDP:
    r"""`code/rpn-L`: the prompt shows a function's values at 2 and 3 (`2>4 3>9`); write a stack program; $H = 1$.

    Actions: all strings of 0 to L of `x1+*`. The tasks are the functions of such programs, one for each pair of shown
    values (the shortest, first in the alphabet of `SYMBOLS`). Reward: the share of the hidden tests x in (0, 1, 4, 5,
    7) that the program passes, so a program that fits only what is shown is paid for what it gets right.
    """
    if not 1 <= L <= 7:
        raise ValueError(f"{id}: the length must be 1 to 7, got {L}")
    answers = strings_up_to(SYMBOLS, L)
    results = [[run_rpn(answer, x) for x in SHOWN + HIDDEN] for answer in answers]
    tasks: dict[str, list] = {}
    for result in results:
        if None not in result:
            tasks.setdefault(" ".join(f"{x}>{y}" for x, y in zip(SHOWN, result, strict=False)), result)
    hidden = np.array([[-1 if y is None else y for y in result[len(SHOWN) :]] for result in results])
    scores = [(hidden == task[len(SHOWN) :]).mean(-1) for task in tasks.values()]
    return one_step(id, list(tasks), answers, np.array(scores))


def run_robot(program: str, agent: tuple[int, int], goal: tuple[int, int], size: int) -> float:
    """Return 1 if the program's moves (`u`, `d`, `l`, `r`) pass over the goal, else 0, less 0.05 a written move."""
    reached = False
    for letter in program:
        agent = move(agent, LETTERS[letter], size, size)
        reached = reached or agent == goal
    return GOAL_REWARD * reached - STEP_COST * len(program)


def robot(id: str, N: int = 3) -> ExactMDP:
    r"""`code/robot-N`: the open-loop twin of `grid/empty-N`: write the whole program (`ddr`), then it runs; $H = 1$.

    Prompts are the grid's texts, actions all strings of 0 to 2(N - 1) of `u`, `d`, `l`, `r`. Every written move costs
    0.05 whether it is needed or not, so the best programs are exactly the shortest paths and $J^*$ is the grid's own.
    """
    if N not in (3, 4):
        raise ValueError(f"{id}: the size must be 3 or 4, got {N}")
    grid = empty(id, N)
    prompts = grid.state_texts[~grid.terminal].tolist()
    answers = strings_up_to("".join(LETTERS), 2 * (N - 1))
    flat = [text.replace("\n", "") for text in prompts]
    cells = [(divmod(text.index("A"), N), divmod(text.index("G"), N)) for text in flat]
    scores = [[run_robot(answer, agent, goal, N) for answer in answers] for agent, goal in cells]
    return one_step(id, prompts, answers, np.array(scores))


def _rpn_small(id: str) -> ExactMDP:
    return rpn(id)


def _robot_small(id: str) -> ExactMDP:
    return robot(id)


register("code/rpn", _rpn_small)
register("code/rpn-{L}", rpn)
register("code/robot", _robot_small)
register("code/robot-{N}", robot)
