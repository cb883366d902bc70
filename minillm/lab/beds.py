r"""Beds: worlds so small that every episode can be written down, so that an expectation is a finite sum.

A bed is an :class:`envs.ExactMDP` together with the token strings that a policy can write in one turn. Every walk through the table,
start, string, outcome, string, outcome, ..., is one episode $i$, and with $\kappa_i$ the product of the environment's chances

$$p_i(\theta) = \kappa_i \prod_t \pi_\theta(b_{it}\mid k_{it}), \qquad \sum_i p_i(\theta) = 1,$$

where the *context* $k_{it}$ is what the policy reads before token t: the state's prompt and the tokens of the turn so far.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minillm.returns import reward_to_go
from minillm.tokenizer import CharTokenizer
from minillm.worlds import load_envs

PUBLISHED = Path(__file__).with_name("bed.json")
ELSEWHERE = 7.0  # stands off the mask in every array of floats: who looks there is seen
Strings = list[tuple[tuple[int, ...], int]]
Move = tuple[int, tuple[int, ...], int, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Bed:
    r"""All E episodes of T token positions, K contexts, vocabulary V.

    Attributes
    ----------
    name : str
    mdp : envs.ExactMDP
        The same world as a table, for dynamic programming.
    vocab_size : int
    prompts : list of S tuples of int
        The tokens that the policy reads in each state.
    strings : list of (tokens, action)
        Every token string that can be written in one turn, with the action of ``mdp`` that it is (the number A: invalid).
    contexts : list of K tuples of int
        What the policy reads before a token, in lexicographic order.
    context, tokens, turns : integer ndarray of shape (E, T); −1, 0 and −1 off the mask
    mask : bool ndarray of shape (E, T)
    rewards : ndarray of shape (E, T)
    nodes : integer ndarray of shape (E, T)
        Number of the history before each token: all that happened, which may be more than the context shows.
    start : integer ndarray of shape (E,)
    chance : ndarray of shape (E,)
        $\kappa_i$, the start's probability included.
    """

    name: str
    mdp: Any
    vocab_size: int
    prompts: list[tuple[int, ...]]
    strings: Strings
    contexts: list[tuple[int, ...]]
    context: np.ndarray
    tokens: np.ndarray
    turns: np.ndarray
    mask: np.ndarray
    rewards: np.ndarray
    nodes: np.ndarray
    start: np.ndarray
    chance: np.ndarray

    @cached_property
    def flat(self) -> np.ndarray:
        """Row of each taken token in a flat (K·V) table; 0 off the mask."""
        return np.where(self.mask, self.context * self.vocab_size + self.tokens, 0)

    @cached_property
    def returns(self) -> np.ndarray:
        """The sum of rewards of each episode (E,)."""
        return np.where(self.mask, self.rewards, 0).sum(axis=1)

    @cached_property
    def rewards_to_go(self) -> np.ndarray:
        """The rewards from each token on (E, T)."""
        return reward_to_go(self.rewards, self.mask)

    @cached_property
    def decisions(self) -> np.ndarray:
        """Rows of a flat (K·V) table of the tokens of action a in state s, (S, A, L), −1 where there are no more."""
        number = {context: k for k, context in enumerate(self.contexts)}
        valid = [tokens for tokens, action in self.strings if action != self.mdp.invalid]
        rows = np.full((len(self.prompts), len(valid), max(map(len, valid))), -1)
        for s in np.flatnonzero(~self.mdp.terminal):
            for a, tokens in enumerate(valid):
                for t, token in enumerate(tokens):
                    rows[s, a, t] = number[(*self.prompts[s], *tokens[:t])] * self.vocab_size + token
        return rows


def enumerate_bed(
    name: str, mdp: Any, vocab_size: int, prompts: list[tuple[int, ...]], strings: Strings, *, gap: int = 0, one_turn: bool = False
) -> Bed:
    """Write every episode of a table down.

    Parameters
    ----------
    name, mdp, vocab_size, prompts, strings
        As in :class:`Bed`; the strings of valid actions stand in the order of the actions.
    gap : int
        Observation positions (off the mask) between two turns.
    one_turn : bool
        All steps of the table belong to one turn: the steps are tokens of one text.
    """
    walks = [
        (mdp.start[s] * chance, moves)
        for s in np.flatnonzero(mdp.start)
        for chance, moves in _walks(mdp, strings, int(s), mdp.horizon)
    ]  # fmt: skip
    T = max(sum(len(tokens) + gap for _, tokens, _, _ in moves) for _, moves in walks) - gap
    rows = [_layout(moves, prompts, gap, T) for _, moves in walks]
    contexts = sorted({context for row in rows for context in row["contexts"] if context is not None})
    number = {context: k for k, context in enumerate(contexts)}
    nodes: dict[Any, int] = {}
    mask = np.array([[context is not None for context in row["contexts"]] for row in rows])
    turns = np.array([row["turns"] for row in rows])
    return Bed(
        name, mdp, vocab_size, prompts, strings, contexts,
        context=np.array([[number.get(context, -1) for context in row["contexts"]] for row in rows]),
        tokens=np.array([row["tokens"] for row in rows]),
        turns=np.where(mask, 0, -1) if one_turn else turns,
        mask=mask,
        rewards=np.array([row["rewards"] for row in rows]),
        nodes=np.array([[nodes.setdefault(node, len(nodes)) for node in row["nodes"]] for row in rows]),
        start=np.array([moves[0][0] for _, moves in walks]),
        chance=np.array([chance for chance, _ in walks]),
    )  # fmt: skip


def _walks(mdp: Any, strings: Strings, s: int, steps: int) -> Iterator[tuple[float, tuple[Move, ...]]]:
    """Every way on from state s with its chance: moves (state, tokens, next state, reward)."""
    if steps == 0 or mdp.terminal[s]:
        yield 1.0, ()
        return
    for tokens, action in strings:
        for k in np.flatnonzero(mdp.probabilities[s, action]):
            following, reward = int(mdp.successors[s, action, k]), float(mdp.rewards[s, action, k])
            for chance, rest in _walks(mdp, strings, following, steps - 1):
                yield float(mdp.probabilities[s, action, k]) * chance, ((s, tokens, following, reward), *rest)


def _layout(moves: tuple[Move, ...], prompts: list[tuple[int, ...]], gap: int, T: int) -> dict[str, list]:
    """One episode as T positions; a turn's reward stands at its last token."""
    row: dict[str, list] = {name: [] for name in ("contexts", "tokens", "turns", "rewards", "nodes")}

    def put(context: Any, token: int, turn: int, reward: float, node: Any) -> None:
        for name, value in zip(row, (context, token, turn, reward, node), strict=True):
            row[name].append(value)

    for turn, (s, tokens, _, reward) in enumerate(moves):
        for t, token in enumerate(tokens):
            last = t == len(tokens) - 1
            put((*prompts[s], *tokens[:t]), token, turn, reward if last else 0.0, (moves[:turn], s, tokens[:t]))
        for _ in range(min(gap, T - len(row["tokens"]))):
            put(None, 0, -1, ELSEWHERE, None)
    while len(row["tokens"]) < T:
        put(None, 0, -1, ELSEWHERE, None)
    return row


def published() -> tuple[Bed, np.ndarray]:
    """Return the published bed of ``bed.json`` (one text of at most 3 of 3 tokens, token 0 stops) and its logits (7, 3)."""
    stored = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    pays: dict[tuple[int, ...], float] = {}
    for episode in stored["episodes"]:
        for t, reward in enumerate(episode["rewards"]):
            pays[tuple(episode["tokens"][: t + 1])] = reward
    stop, longest, V = stored["stop_token"], stored["max_tokens"], stored["vocabulary"]

    def outcomes(prefix: tuple[int, ...], action: str) -> list[tuple[float, Any, float]]:
        text = (*prefix, int(action))
        ended = text[-1] == stop or len(text) == longest
        return [(1.0, "end" if ended else text, pays[text])]

    mdp = load_envs().tables.tabulate(
        "bed", start={(): 1.0}, actions=[str(v) for v in range(V)], outcomes=outcomes, terminal=lambda s: s == "end",
        text=lambda s: "".join(map(str, s)), horizon=longest, invalid_reward=0.0,
    )  # fmt: skip
    prompts = [(stop, *map(int, text)) if text != "end" else () for text in mdp.state_texts.tolist()]
    return enumerate_bed("one text", mdp, V, prompts, [((v,), v) for v in range(V)], one_turn=True), np.array(stored["logits"])


def token_walk() -> Bed:
    """A token MDP: in state x of three, token 0 stops and token v leads to x + v (mod 3), token 2 from state 0 not always.

    States come again within an episode, so one context is read more than once.
    """
    pays = np.random.default_rng(1).normal(size=(3, 3, 3)).round(3)

    def outcomes(x: int, action: str) -> list[tuple[float, int, float]]:
        v = int(action)
        if v == 0:
            return [(1.0, 3, pays[x, 0, 0])]
        y = (x + v) % 3
        return [(0.6, y, pays[x, v, y]), (0.4, x, pays[x, v, x])] if (x, v) == (0, 2) else [(1.0, y, pays[x, v, y])]

    mdp = load_envs().tables.tabulate(
        "walk", start={0: 1.0}, actions=["0", "1", "2"], outcomes=outcomes, terminal=lambda x: x == 3, text=str, horizon=3,
        invalid_reward=0.0,
    )  # fmt: skip
    prompts: list[tuple[int, ...]] = [(0, int(text)) if text != "3" else () for text in mdp.state_texts.tolist()]
    return enumerate_bed("token walk", mdp, 3, prompts, [((v,), v) for v in range(3)])


def dialogue() -> tuple[Bed, CharTokenizer]:
    """Two turns with an observation between them: from the states "a" and "aa" the agent writes "", "a" or what is invalid.

    Both states are starts. The policy reads the state's text and the end token, as the agent does (:mod:`minillm.lab.exact`).
    """
    pays = np.random.default_rng(2).normal(size=(3, 3, 4)).round(3)

    def outcomes(s: int, action: str) -> list[tuple[float, int, float]]:
        if action == "":
            return [(1.0, 3 - s, pays[s, 0, 3 - s])]
        return [(0.7, 3 - s, pays[s, 1, 3 - s]), (0.3, 3, pays[s, 1, 3])]

    mdp = load_envs().tables.tabulate(
        "dialogue", start={1: 0.6, 2: 0.4}, actions=["", "a"], outcomes=outcomes, terminal=lambda s: s == 3, text=lambda s: "a" * s,
        horizon=2, invalid_reward=-0.4,
    )  # fmt: skip
    tokenizer = CharTokenizer("a")
    a, eos = 0, tokenizer.eos_token_id
    prompts = [(a,) * len(text) + (eos,) for text in mdp.state_texts.tolist()]
    strings = [((eos,), 0), ((a, eos), 1), ((a, a), mdp.invalid)]
    return enumerate_bed("dialogue", mdp, tokenizer.vocab_size, prompts, strings, gap=1), tokenizer
