r"""A dialogue with a scripted user: ask for the slots, then book; the user's answers are misheard at a stated rate."""

from itertools import product

from envs.core import register
from envs.mdp import ExactMDP
from envs.tables import tabulate

SLOTS = {"food": ("thai", "pizza"), "area": ("north", "south")}
ASKS = 2  # times that the user answers about one slot
ASK_COST, INVALID_COST, SUCCESS = 0.05, 0.1, 1.0
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
    names, domains = list(SLOTS), list(SLOTS.values())

    def beliefs(goal, heard):
        if goal:
            return [{v: float(v == wanted) for v in domain} for domain, wanted in zip(domains, goal, strict=True)]
        return [posterior(h, domain, noise) for h, domain in zip(heard, domains, strict=True)]

    def ask(state, i):
        goal, heard = state
        if len(heard[i]) == ASKS:
            return [(1.0, (goal, heard), -ASK_COST)]
        belief = beliefs(goal, heard)[i]
        chances = {word: sum(p * likelihood((word,), v, noise) for v, p in belief.items()) for word in domains[i]}
        after = {word: (*heard[:i], (*heard[i], word), *heard[i + 1 :]) for word in domains[i]}
        return [(chances[word], (goal, after[word]), -ASK_COST) for word in domains[i]]

    def outcomes(state, action):
        verb, *words = action.split()
        if verb == "ask":
            return ask(state, names.index(words[0]))
        right = 1.0
        for belief, word in zip(beliefs(*state), words, strict=True):
            right *= belief[word]
        return [(right, END[True], SUCCESS), (1 - right, END[False], 0.0)]

    def text(state):
        if isinstance(state, str):
            return state
        goal, heard = state
        shown = "; ".join(f"{name}: {' '.join(words) or '?'}" for name, words in zip(names, heard, strict=True))
        return f"{' '.join(goal)} | {shown}" if goal else shown

    goals: list[tuple[str, ...]] = [()] if hidden else list(product(*domains))
    actions = [f"ask {name}" for name in names] + [f"book {' '.join(goal)}" for goal in product(*domains)]
    return tabulate(
        id, start={(goal, ((), ())): 1 / len(goals) for goal in goals}, actions=actions, outcomes=outcomes,
        terminal=lambda state: isinstance(state, str), text=text, horizon=8, invalid_reward=-INVALID_COST,
    )  # fmt: skip


def _hidden(id: str, noise: float = 0.1) -> ExactMDP:
    return slots(id, noise)


def _observed(id: str, noise: float = 0.1) -> ExactMDP:
    return slots(id, noise, hidden=False)


register("dialogue/slots", _hidden)
register("dialogue/slots-observed", _observed)
