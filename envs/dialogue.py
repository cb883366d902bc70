r"""A dialogue with a scripted user: ask for the slots, then book; the user's answers are misheard at a stated rate."""

from itertools import product
from math import prod

from envs.core import register
from envs.mdp import ExactMDP
from envs.tables import tabulate

SLOTS = {"food": ("thai", "pizza"), "area": ("north", "south")}
ASKS = 2  # times that the user answers about one slot
ASK_COST, INVALID_COST, SUCCESS = 0.05, 0.1, 1.0
State = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]  # (the goal or (), the words heard about each slot)
END = {True: "done: right", False: "done: wrong"}


def likelihood(heard: tuple[str, ...], value: str, noise: float) -> float:
    """Return the probability of hearing these answers about a slot whose wanted value is `value`."""
    result = 1.0
    for word in heard:
        result *= 1 - noise if word == value else noise
    return result


def posterior(heard: tuple[str, ...], values: tuple[str, str], noise: float) -> dict[str, float]:
    """Return the probability of each value given what was heard, from a uniform prior (Bayes)."""
    weights = {value: likelihood(heard, value, noise) for value in values}
    total = sum(weights.values())
    return {value: weight / total for value, weight in weights.items()}


def beliefs(state: State, noise: float) -> list[dict[str, float]]:
    """Return for each slot the probability of each value, given the goal or else what was heard."""
    goal, heard = state
    if goal:
        return [{v: float(v == wanted) for v in values} for values, wanted in zip(SLOTS.values(), goal, strict=True)]
    return [posterior(h, values, noise) for h, values in zip(heard, SLOTS.values(), strict=True)]


def ask(state: State, slot: int, noise: float) -> list[tuple[float, State, float]]:
    """Return what can be heard after asking about a slot, as (probability, next state, reward) triples."""
    goal, heard = state
    if len(heard[slot]) == ASKS:
        return [(1.0, state, -ASK_COST)]
    belief, outcomes = beliefs(state, noise)[slot], []
    for word in belief:
        chance = sum(p * likelihood((word,), value, noise) for value, p in belief.items())
        after = (*heard[:slot], (*heard[slot], word), *heard[slot + 1 :])
        outcomes.append((chance, (goal, after), -ASK_COST))
    return outcomes


def book(state: State, words: list[str], noise: float) -> list[tuple[float, str, float]]:
    """Return the two ends of a booking as (probability, end, reward) triples."""
    right = prod(belief[word] for belief, word in zip(beliefs(state, noise), words, strict=True))
    return [(right, END[True], SUCCESS), (1 - right, END[False], 0.0)]


def text(state: State | str) -> str:
    """Return what the agent reads: the goal if it is not hidden, and the words heard about each slot."""
    if isinstance(state, str):
        return state
    goal, heard = state
    shown = "; ".join(f"{name}: {' '.join(words) or '?'}" for name, words in zip(SLOTS, heard, strict=True))
    return f"{' '.join(goal)} | {shown}" if goal else shown


def slots(id: str, noise: float = 0.1, hidden: bool = True) -> ExactMDP:
    r"""`dialogue/slots`: find out which food and which area the user wants, then book; H = 8.

    `ask food` and `ask area` cost 0.05; the user answers the first two times about each slot, and the answer is
    misheard as the other value with probability `noise`. `book thai north` (four such actions) ends and pays 1 if both
    values are right, else 0. Invalid strings cost 0.1. The text holds all that was heard. The user's goal is uniform
    and hidden; the table is the exact process over what was heard, its chances by Bayes' rule. In the fully observed
    twin, `dialogue/slots-observed`, the text begins with the goal.
    """
    if not 0 < noise < 0.5:
        raise ValueError(f"{id}: noise must lie between 0 and 0.5, got {noise!r}")

    def outcomes(state, action):
        """What comes of asking for a slot, or of booking."""
        verb, *words = action.split()
        return ask(state, list(SLOTS).index(words[0]), noise) if verb == "ask" else book(state, words, noise)

    bookings = list(product(*SLOTS.values()))
    goals: list[tuple[str, ...]] = [()] if hidden else bookings
    return tabulate(
        id, start={(goal, ((), ())): 1 / len(goals) for goal in goals}, outcomes=outcomes,
        actions=[f"ask {name}" for name in SLOTS] + [f"book {' '.join(goal)}" for goal in bookings],
        terminal=lambda state: isinstance(state, str), text=text, horizon=8, invalid_reward=-INVALID_COST,
    )  # fmt: skip


def _hidden(id: str, noise: float = 0.1) -> ExactMDP:
    return slots(id, noise)


def _observed(id: str, noise: float = 0.1) -> ExactMDP:
    return slots(id, noise, hidden=False)


register("dialogue/slots", _hidden)
register("dialogue/slots-observed", _observed)
