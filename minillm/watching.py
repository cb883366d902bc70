"""An agent watched while it plays: what it writes, character by character, and what an exact solver says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import numpy as np

from minillm.agent import LLMAgent
from minillm.inspection import labels
from minillm.objectives import IGNORE
from minillm.run import exact_policy
from minillm.worlds import has_table, single

SHOWN = 4  # best actions that are named


@dataclasses.dataclass(frozen=True)
class Verdict:
    r"""What is exact of a state at step t: $V_t^\pi(s)$, $V_t^*(s)$, and the optimal actions."""

    value: float
    optimum: float
    best: list[str]


@dataclasses.dataclass(frozen=True)
class Turn:
    """One step of an episode.

    Attributes
    ----------
    episode, step : int
        From 1.
    state, action, next_state : str
    tokens : list of (str, float)
        What was written, the end token (∎) too, and the probability of each when it was drawn.
    reward, total : float
        Of this step, and the sum so far.
    valid : bool
        Whether the action is one of the environment's.
    ending : str
        "the end", "out of time", or "" where the episode goes on.
    """

    episode: int
    step: int
    state: str
    action: str
    tokens: list[tuple[str, float]]
    reward: float
    total: float
    next_state: str
    valid: bool
    ending: str


def turns(agent: LLMAgent, mdp: Any, seed: int, episodes: int) -> Iterator[Turn]:
    """Play episodes and yield each step as it was taken."""
    world = single(mdp, seed)
    for episode in range(1, episodes + 1):
        state, _ = world.reset()
        total, step, ending = 0.0, 0, ""
        while not ending:
            choice, step = agent.act([state]), step + 1
            action, written = str(choice.texts[0]), choice.ids[0] != IGNORE
            after, reward, terminated, truncated, info = world.step(action)
            total += reward
            ending = "the end" if terminated else "out of time" if truncated else ""
            texts = labels(agent.tokenizer, choice.ids[0][written])
            tokens = list(zip(texts, np.exp(choice.log_probs[0][written]).tolist(), strict=True))
            yield Turn(episode, step, state, action, tokens, reward, total, after, not info.get("invalid"), ending)
            state = after


def judge(agent: LLMAgent, mdp: Any) -> Callable[[Turn], Verdict | None]:
    """Return what says of a turn how good its state is, and which actions are optimal there; nothing where there is no table."""
    if not has_table(mdp):
        return lambda turn: None
    values, solution = mdp.state_values(exact_policy(agent, mdp)), mdp.solve()
    actions = [*mdp.action_texts.tolist(), None]
    number = {text: s for s, text in enumerate(mdp.state_texts.tolist())}
    optimal = solution.optimal

    def verdict(turn: Turn) -> Verdict:
        t, s = turn.step - 1, number[turn.state]
        best = [action for action, good in zip(actions, optimal[t, s], strict=True) if good and action is not None]
        return Verdict(float(values[t, s]), float(solution.V[t, s]), best)

    return verdict


def described(turn: Turn, verdict: Verdict | None) -> str:
    """Return two lines: the characters with their probabilities, and the state's exact value (if known) beside the best actions."""
    if verdict is None:
        return f"  {_spelled(turn.tokens)}\n"
    best = ", ".join(map(repr, verdict.best[:SHOWN])) + ", …" * (len(verdict.best) > SHOWN)
    mark = "" if not verdict.best else " (done)" if turn.action in verdict.best else " (not done)"
    return f"  {_spelled(turn.tokens)}\n  exact V(s) {verdict.value:.4f} of {verdict.optimum:.4f}, best: {best or 'no action'}{mark}\n"


def frames(turn: Turn, verdict: Verdict | None) -> Iterator[str]:
    """Yield what a screen shows during a turn: the state, the action growing by a character, and the state that follows."""
    head = f"episode {turn.episode}, step {turn.step}\n\n"
    for n in range(len(turn.tokens) + 1):
        yield f"{head}{turn.state}\n\n> {_spelled(turn.tokens[:n])}\n"
    mark = "" if turn.valid else " (not an action)"
    yield (
        f"{head}{turn.next_state}\n\n> {turn.action!r}{mark}: reward {turn.reward:g}, sum {turn.total:g}   {turn.ending}\n"
        f"{described(turn, verdict)}"
    )


def _spelled(tokens: list[tuple[str, float]]) -> str:
    return "  ".join(f"{text} {p:.2f}" for text, p in tokens)


class Screen:
    """A part of a terminal that is drawn over and over in its place.

    Parameters
    ----------
    out : text stream
    columns : int
        What is longer is cut: a line that wraps would take two.
    """

    def __init__(self, out: TextIO, columns: int) -> None:
        self.out, self.columns, self.lines = out, columns, 0

    def show(self, text: str) -> None:
        """Draw a text over the last one."""
        lines = [line[: self.columns] for line in text.rstrip("\n").split("\n")]
        up = f"\x1b[{self.lines}F\x1b[J" if self.lines else ""
        self.out.write(up + "\n".join(lines) + "\n")
        self.out.flush()
        self.lines = len(lines)

    def keep(self) -> None:
        """Leave what is shown; the next text goes below it."""
        self.lines = 0
