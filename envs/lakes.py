"""Grids with chance and hazards: the frozen lake and the cliff (Sutton and Barto, 2018, example 6.6)."""

import numpy as np

from envs.core import register
from envs.grid import INVALID_COST, MOVES, move
from envs.mdp import ExactMDP
from envs.tables import tabulate

LAKE_4 = ("SFFF", "FHFH", "FFFH", "HFFG")
LAKE_8 = ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG")
SIDES = {"up": ("left", "right"), "down": ("left", "right"), "left": ("up", "down"), "right": ("up", "down")}
HEIGHT, WIDTH = 4, 12
CLIFF_STEP_COST, CLIFF_COST, CLIFF_INVALID_COST = 1.0, 100.0, 2.0


def slides(action: str, slip: float) -> list[tuple[float, str]]:
    """Return (probability, direction): as meant with 1 - slip, to either side with slip / 2, never backwards."""
    if not 0 <= slip <= 1:
        raise ValueError(f"slip must lie in [0, 1], got {slip!r}")
    return [(1 - slip, action), *((slip / 2, side) for side in SIDES[action])]


def lake(id: str, tiles: tuple[str, ...], slip: float, horizon: int) -> ExactMDP:
    r"""Build a frozen lake: S start, F ice, H hole (ends with 0), G goal (pays 1); moves are free, `invalid` costs 0.1.

    The text is the map: `.` ice, `O` hole, `G` goal, `A` agent, `X` agent in a hole, `*` agent on the goal.
    """
    height, width = len(tiles), len(tiles[0])
    seen = [list(row.translate(str.maketrans("SFH", "..O"))) for row in tiles]

    def outcomes(cell, action):
        """Where the agent slides to; the goal pays 1."""
        cells = [(p, move(cell, direction, height, width)) for p, direction in slides(action, slip)]
        return [(p, end, float(tiles[end[0]][end[1]] == "G")) for p, end in cells]

    def text(cell):
        """The map with the agent on it."""
        rows = [row.copy() for row in seen]
        rows[cell[0]][cell[1]] = {"H": "X", "G": "*"}.get(tiles[cell[0]][cell[1]], "A")
        return "\n".join(map("".join, rows))

    starts = [(r, c) for r in range(height) for c in range(width) if tiles[r][c] == "S"]
    return tabulate(
        id, start=dict.fromkeys(starts, 1 / len(starts)), actions=list(MOVES), outcomes=outcomes,
        terminal=lambda cell: tiles[cell[0]][cell[1]] in "HG", text=text, horizon=horizon, invalid_reward=-INVALID_COST,
    )  # fmt: skip


def solvable(tiles: tuple[str, ...]) -> bool:
    """Say whether a path over ice joins the start in the top left corner to the goal."""
    frontier, seen = [(0, 0)], {(0, 0)}
    for cell in frontier:
        near = {move(cell, action, len(tiles), len(tiles[0])) for action in MOVES} - seen
        near = {(r, c) for r, c in near if tiles[r][c] != "H"}
        seen |= near
        frontier += sorted(near)
    return any(tiles[r][c] == "G" for r, c in seen)


def random_tiles(size: int, holes: float, map_seed: int) -> tuple[str, ...]:
    """Return a random map in which each inner tile is a hole with probability `holes`, redrawn until solvable."""
    if not 0 <= holes < 1 or size < 2:
        raise ValueError(f"need size >= 2 and 0 <= holes < 1, got {size} and {holes!r}")
    rng = np.random.default_rng(map_seed)
    while True:
        tiles = np.where(rng.random((size, size)) < holes, "H", "F")
        tiles[0, 0], tiles[-1, -1] = "S", "G"
        rows = tuple("".join(row) for row in tiles)
        if solvable(rows):
            return rows


def frozenlake(id: str, slip: float = 2 / 3) -> ExactMDP:
    """`grid/frozenlake`: Gymnasium's 4 x 4 map; option `slip`, the probability of sliding to a side; H = 100."""
    return lake(id, LAKE_4, slip, 100)


def frozenlake_8(id: str, slip: float = 2 / 3) -> ExactMDP:
    """`grid/frozenlake-8`: Gymnasium's 8 x 8 map; H = 200."""
    return lake(id, LAKE_8, slip, 200)


def frozenlake_random(id: str, N: int, slip: float = 0.0, holes: float = 0.2, map_seed: int = 0) -> ExactMDP:
    """`grid/frozenlake-random-N`: a random solvable map (options `holes`, `map_seed`, `slip`); H = 8N."""
    return lake(id, random_tiles(N, holes, map_seed), slip, 8 * N)


def cliff(id: str, slip: float = 0.0) -> ExactMDP:
    r"""`grid/cliff`: from the bottom left to the bottom right corner along a cliff, 4 x 12, H = 100.

    A step costs 1, an invalid string 2; a step into the cliff costs 100 and sends the agent back to the start without
    ending the episode. The text is the map: `.` ground, `C` cliff, `G` goal, `A` agent, `*` agent on the goal.
    """
    start, goal = (HEIGHT - 1, 0), (HEIGHT - 1, WIDTH - 1)

    def outcome(cell):
        """Where a step onto a cell ends, and what it costs."""
        fell = cell[0] == HEIGHT - 1 and 0 < cell[1] < WIDTH - 1
        return (start, -CLIFF_COST) if fell else (cell, -CLIFF_STEP_COST)

    def text(cell):
        """The map with the agent on it."""
        rows = [list("." * WIDTH) for _ in range(HEIGHT - 1)] + [list("." + "C" * (WIDTH - 2) + "G")]
        rows[cell[0]][cell[1]] = "*" if cell == goal else "A"
        return "\n".join(map("".join, rows))

    return tabulate(
        id, start={start: 1.0}, actions=list(MOVES),
        outcomes=lambda cell, action: [(p, *outcome(move(cell, d, HEIGHT, WIDTH))) for p, d in slides(action, slip)],
        terminal=lambda cell: cell == goal, text=text, horizon=100, invalid_reward=-CLIFF_INVALID_COST,
    )  # fmt: skip


register("grid/frozenlake", frozenlake)
register("grid/frozenlake-8", frozenlake_8)
register("grid/frozenlake-random-{N}", frozenlake_random, ("grid/frozenlake-random-4",))
register("grid/cliff", cliff)
