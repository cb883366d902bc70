"""A trained language model looked into: its parameters, what a step keeps in memory, where it errs, what it attends to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minillm.agent import LLMAgent
from minillm.evaluation import token_losses
from minillm.language_model import LanguageModel
from minillm.objectives import IGNORE
from minillm.ops import log_softmax
from minillm.ops.attention import attention_weights as weights
from minillm.optimizers import decay_groups
from minillm.parameters import Parameters
from minillm.tokenizer import CharTokenizer, Tokenizer
from minillm.transformer import GPT

VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}


def labels(tokenizer: Tokenizer, ids: np.ndarray) -> list[str]:
    """Return the text of each token, blanks made visible, the end-of-text token as ∎."""
    texts = (tokenizer.decode([i]) for i in ids)
    return ["∎" if i == tokenizer.eos_token_id else VISIBLE.get(text, text) for i, text in zip(ids, texts, strict=True)]


def turn(agent: LLMAgent, state: str) -> np.ndarray:
    """Return the ids of one turn: the state, the end token, and the action that the agent writes."""
    action = agent.act([state]).ids[0]
    prompt = np.append(agent.tokenizer.encode(state), agent.tokenizer.eos_token_id)
    return np.concatenate([prompt, action[action != IGNORE]])[: agent.model.config.n_positions]


def parameter_table(parameters: Parameters) -> str:
    """Return name, shape, size, root mean square and whether it decays, a line for each array."""
    decaying = set(decay_groups(parameters)[0])
    lines = [f"{'parameter':28}{'shape':>14}{'size':>12}{'rms':>10}  decays"]
    for name, view in parameters.items():
        rms = math.sqrt(float(np.mean(np.square(view, dtype=np.float64))))
        lines.append(f"{name:28}{'×'.join(map(str, view.shape)):>14}{view.size:>12,}{rms:>10.4f}  {'yes' if name in decaying else 'no'}")
    return "\n".join([*lines, f"{'all':28}{'':14}{parameters.vector.size:>12,}"])


def activation_ledger(model: GPT, B: int, T: int) -> dict[str, int]:
    """See :meth:`minillm.GPT.activation_ledger`."""
    _, cache = model.forward(np.zeros((B, T), np.int64))
    seen = {_address(model.parameters.vector)}
    kept = {f"h.{i}.{name}": _bytes(part, seen) for i, block in enumerate(cache[2]) for name, part in block._asdict().items()}
    return {name: size for name, size in (kept | {"rest": _bytes(cache, seen)}).items() if size}


def _bytes(kept: Any, seen: set[int]) -> int:
    """Bytes of the distinct blocks of memory under arrays in nested tuples and lists; ``seen`` grows."""
    if isinstance(kept, np.ndarray):
        address, size = _address(kept), _base(kept).nbytes
        new = address not in seen
        seen.add(address)
        return size if new else 0
    return sum(_bytes(part, seen) for part in kept) if isinstance(kept, tuple | list) else 0


def _base(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _address(array: np.ndarray) -> int:
    return _base(array).__array_interface__["data"][0]


def loss_by_position(model: GPT, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the mean loss (T,), in nats, of the token that follows position t, over blocks (n, T)."""
    counts = (targets != IGNORE).sum(axis=0)
    return token_losses(model, inputs, targets).sum(axis=0) / np.maximum(counts, 1)


def attention_weights(model: LanguageModel, ids: np.ndarray) -> list[np.ndarray]:
    r"""Return $\operatorname{softmax}(QK^\top/\sqrt D)$ of one sequence, shape (H, T, T), for each layer."""
    _, cache = model.forward(ids[None])
    return [weights(layer.attended)[0] for layer in cache[2]]


def next_characters(model: GPT, tokenizer: CharTokenizer, ids: np.ndarray, n: int) -> Iterator[tuple[str, float]]:
    """Yield the n most probable tokens after a sequence, and their probabilities."""
    logits, _ = model.forward(ids, keep=False)
    p = np.exp(log_softmax(logits[-1].astype(np.float64))[0])
    for token in np.argsort(-p, kind="stable")[:n]:
        yield tokenizer.decode([token]), float(p[token])
