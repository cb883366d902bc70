"""The agent: a language model and its tokenizer that read a state as text and write an action as text.

A prompt is the state's tokens followed by the end-of-text token; the action is what the model writes up to the next
end-of-text token. So states and actions may hold any character, newlines too, and an empty state is a prompt like any other.
State and action are encoded apart, with the end token between them: no token spans both, and the tokens of an action do not
depend on the state. The probability of an action is that of its canonical tokens and the end token; where a tokenizer has
other spellings of the same text (:meth:`minillm.bpe.BPETokenizer.decode_action`), they are no action.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from minillm.decoding import Sampling, draw, read, sample, score
from minillm.errors import UserError, require_integer
from minillm.kv_cache import KeyValueCache
from minillm.language_model import LanguageModel
from minillm.memory import Memory
from minillm.objectives import IGNORE
from minillm.ops import log_softmax
from minillm.tokenizer import Tokenizer


class Environment(Protocol):
    """What :func:`interact` needs; ``envs.SimpleEnv`` is one."""

    def get_state(self) -> str: ...
    def step(self, action: str) -> tuple[float, str]: ...


@dataclasses.dataclass(frozen=True)
class Choice:
    """Actions for N states: their ``texts`` (N,), sampled ``ids`` (N, L) padded with −100, and each token's ``log_probs`` (N, L)."""

    texts: np.ndarray
    ids: np.ndarray
    log_probs: np.ndarray


class LLMAgent:
    r"""A language model that acts.

    Parameters
    ----------
    model : LanguageModel
    tokenizer : Tokenizer
    temperature, top_k, top_p
        The distribution of each token; see :class:`minillm.decoding.Sampling`.
    max_new_tokens : int
        Longest action, its end token included. An action that is cut here has no end token.
    rng : seed or numpy.random.Generator, optional
        Source of the draws; fresh entropy when None.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        max_new_tokens: int = 20,
        rng: Any = None,
    ) -> None:
        if tokenizer.vocab_size > model.config.vocab_size:
            raise UserError(
                f"a tokenizer of {tokenizer.vocab_size} ids does not fit a model of vocab_size {model.config.vocab_size}"
            )
        self.model, self.tokenizer = model, tokenizer
        self.sampling = Sampling(temperature, top_k, top_p)
        self.max_new_tokens = require_integer("max_new_tokens", max_new_tokens, 1)
        self.rng = np.random.default_rng(rng)

    def generate_action(self, state: str) -> str:
        """Write an action for a state, token by token."""
        return str(self.act([state]).texts[0])

    def act(self, states: Sequence[str] | np.ndarray) -> Choice:
        """Write an action for each of N states at once; equal states are read once."""
        return self.remembering_act()(np.asarray(states))

    def remembering_act(self) -> Callable[[np.ndarray], Choice]:
        """Return :meth:`act` with a memory of what was read: for playing on with the *same* parameters."""
        memory, rows, spelled = Memory(self.model), dict[str, int](), dict[bytes, str]()

        def act(states: np.ndarray) -> Choice:
            """See :meth:`act`; only states that were not met before are read."""
            new = [state for state in np.unique(states).tolist() if state not in rows]
            if new:
                rows.update(zip(new, range(len(rows), len(rows) + len(new)), strict=True))
                memory.add(*self._read(np.array(new), room=self.max_new_tokens))
            return self._write(*memory.take(np.array([rows[state] for state in states.tolist()])), spelled)

        return act

    def action_log_probs(self, states: Sequence[str] | np.ndarray, actions: Sequence[str] | np.ndarray) -> np.ndarray:
        r"""Return $\log p(a \mid s)$, end token included, for N states and A action texts: shape (N, A), no sampling."""
        if not len(actions):
            raise UserError("no actions to choose from: the set is empty")
        unique, inverse = np.unique(np.asarray(states), return_inverse=True)
        ids = [self._action_ids(action) for action in actions]
        past, logits = self._read(unique, room=max(map(len, ids)) - 1)
        return score(self.model, past, logits, ids, self.sampling)[inverse]

    def choose_action(self, state: str, actions: Sequence[str]) -> str:
        r"""Draw from a finite set of actions, with $\pi(a) = p(a\mid s) / \sum_{a'} p(a'\mid s)$; exactly, without rejection."""
        log_pi, _ = log_softmax(self.action_log_probs([state], actions))
        return str(actions[int(draw(log_pi, self.rng.random(1))[0])])

    def _read(self, states: np.ndarray, room: int) -> tuple[KeyValueCache, np.ndarray]:
        ids, lengths = self.tokenizer.encode_prompts(states)
        longest, limit = int(lengths.max(initial=0)), self.model.config.n_positions
        if longest > limit:
            raise UserError(
                f"prompt {int(lengths.argmax())} has {longest} tokens, more than n_positions = {limit}: "
                f"{str(states[lengths.argmax()])!r:.60}"
            )
        return read(self.model, ids, lengths, room=min(limit, longest + room))

    def _write(self, past: KeyValueCache, logits: np.ndarray, spelled: dict[bytes, str]) -> Choice:
        eos = self.tokenizer.eos_token_id
        new = sample(self.model, past, logits, self.max_new_tokens, self.sampling, eos, self.rng)
        written = np.arange(new.ids.shape[1]) < new.lengths[:, None]
        log_probs = np.where(written, new.log_probs, 0).astype(np.float64)
        ids = np.where(written, new.ids, IGNORE)
        return Choice(self._texts(ids, spelled), ids, log_probs)

    def _action_ids(self, action: str) -> np.ndarray:
        return np.append(self.tokenizer.encode(str(action)), self.tokenizer.eos_token_id)

    def _texts(self, ids: np.ndarray, spelled: dict[bytes, str] | None = None) -> np.ndarray:
        """The texts of sampled ids (N, L), padded with −100; what is ``spelled`` already is not decoded again."""
        spelled = {} if spelled is None else spelled
        keys = [row.tobytes() for row in ids]
        for key, row in zip(keys, ids, strict=True):
            if key not in spelled:
                spelled[key] = self.tokenizer.decode_action(row[row != IGNORE])
        return np.array([spelled[key] for key in keys], dtype=np.str_)


def interact(agent: LLMAgent, environment: Environment) -> tuple[float, str]:
    """One turn of the loop: read the state, write the action, take the step; return ``(reward, next_state)``."""
    state = environment.get_state()
    action = agent.generate_action(state)
    return environment.step(action)
