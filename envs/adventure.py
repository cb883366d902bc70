r"""A text adventure: rooms, exits, a key and a locked door."""

from itertools import product

from envs.core import register
from envs.mdp import ExactMDP
from envs.tables import tabulate

EXITS = {
    "hall": {"north": "attic", "south": "cellar", "west": "garden", "east": "vault"},
    "attic": {"south": "hall"},
    "cellar": {"north": "hall"},
    "garden": {"east": "hall"},
}
VERBS = ("go north", "go south", "go east", "go west", "take key", "unlock door")
STEP_COST, INVALID_COST = 0.02, 0.1
KEY_REWARD, DOOR_REWARD, VAULT_REWARD = 0.2, 0.2, 1.0


def _step(state, action):
    room, key, locked = state
    verb, word = action.split()
    if verb == "take":
        return ((room, "you", locked), KEY_REWARD) if key == room else (state, 0.0)
    if verb == "unlock":
        can = room == "hall" and key == "you" and locked
        return ((room, key, False), DOOR_REWARD) if can else (state, 0.0)
    target = EXITS[room].get(word, room)
    if target == "vault":
        return (state, 0.0) if locked else ((target, key, locked), VAULT_REWARD)
    return (target, key, locked), 0.0


def _text(state):
    room, key, locked = state
    if room == "vault":
        return "You are in the vault."
    exits = " ".join(EXITS[room])
    return f"{room}. exits: {exits}. key: {key}. door: {'locked' if locked else 'open'}."


def rooms(id: str) -> ExactMDP:
    r"""`adventure/rooms`: find the key, unlock the hall's eastern door, enter the vault; H = 20.

    You and the key start in any of four rooms (the text says where the key is). The published verbs are `VERBS`; one
    that does nothing here (no such exit, no key, a locked door) is valid and wasted. Every step costs 0.02, an invalid
    string 0.1; the key and the door pay 0.2 each, once, and the vault 1.
    """
    starts = [(room, key, True) for room, key in product(EXITS, EXITS)]

    def outcomes(state, action):
        """The one outcome, less the cost of a step."""
        after, reward = _step(state, action)
        return [(1.0, after, reward - STEP_COST)]

    return tabulate(
        id, start=dict.fromkeys(starts, 1 / len(starts)), actions=VERBS, outcomes=outcomes,
        terminal=lambda state: state[0] == "vault", text=_text, horizon=20, invalid_reward=-INVALID_COST,
    )  # fmt: skip


register("adventure/rooms", rooms)
