r"""Grid worlds drawn as text, with the actions up, down, left, right."""

from itertools import permutations

from envs.core import register
from envs.mdp import ExactMDP
from envs.tables import tabulate

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
GOAL_REWARD, STEP_COST, INVALID_COST = 1.0, 0.05, 0.1


def move(cell: tuple[int, int], action: str, height: int, width: int) -> tuple[int, int]:
    """Return the neighbour of a cell (row, column); bumping into the border stays."""
    down, right = MOVES[action]
    row, column = cell[0] + down, cell[1] + right
    return (row, column) if 0 <= row < height and 0 <= column < width else cell


def empty(id: str, N: int) -> ExactMDP:
    r"""`grid/empty-N`: an N x N room; the agent A and the goal G start at distinct uniformly random cells.

    The text is N lines: `.` empty, `A` agent, `G` goal, `*` agent on goal (terminal). Every step costs STEP_COST,
    reaching the goal pays GOAL_REWARD on top (so the last step pays 0.95), an invalid string leaves the state unchanged
    and costs INVALID_COST instead. $H = 2N$ (the longest way takes 2N − 2 steps); $N^2(N^2-1)$ non-terminal states.
    """
    if N < 3:
        raise ValueError(f"{id}: the size must be at least 3, got {N}")
    cells = [(row, column) for row in range(N) for column in range(N)]
    starts = list(permutations(cells, 2))

    def outcomes(state, action):
        """The move, and what it earns."""
        agent, goal = move(state[0], action, N, N), state[1]
        return [(1.0, (agent, goal), (GOAL_REWARD if agent == goal else 0.0) - STEP_COST)]

    def text(state):
        """The room with agent and goal."""
        marks = {state[0]: "A", state[1]: "G"} if state[0] != state[1] else {state[0]: "*"}
        return "\n".join("".join(marks.get((row, column), ".") for column in range(N)) for row in range(N))

    return tabulate(
        id, start=dict.fromkeys(starts, 1 / len(starts)), actions=list(MOVES), outcomes=outcomes,
        terminal=lambda state: state[0] == state[1], text=text, horizon=2 * N, invalid_reward=-INVALID_COST,
    )  # fmt: skip


register("grid/empty-{N}", empty, ("grid/empty-5",))
