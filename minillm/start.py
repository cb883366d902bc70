"""What a run starts with: a new model over the characters of its world, or a checkpoint with the tokenizer that came with it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from minillm.bpe import BPETokenizer
from minillm.config import GPTConfig
from minillm.errors import CheckpointError, UserError
from minillm.pretrained.directory import locate
from minillm.tokenizer import CharTokenizer, Tokenizer
from minillm.train_config import TrainConfig
from minillm.transformer import GPT

NUMBERS = "0123456789.-+e\n"  # what a reward is written with in a transcript
SIZES = ("n_embd", "n_layer", "n_head", "initializer_range")  # of the configuration; a checkpoint has its own


def start(config: TrainConfig, mdp: Any, rng: Any) -> tuple[TrainConfig, Tokenizer, GPT]:
    """Return the configuration (with a checkpoint's sizes, if it names one), the tokenizer and the model of a run.

    Parameters
    ----------
    config : TrainConfig
    mdp : envs.ExactMDP
        The world, for its texts.
    rng : seed or numpy.random.Generator
        Source of a new model's parameters.

    Raises
    ------
    CheckpointError, TokenizerError
        If the checkpoint or its tokenizer is missing, damaged or not supported, or the two contradict each other.
    UserError
        If the checkpoint cannot read the world: its context is too short, or a text holds one of its special tokens.
    """
    if config.model is not None:
        return _pretrained(config, mdp)
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts, NUMBERS])
    return config, tokenizer, GPT(shape_of(config, tokenizer, mdp), rng=rng)


def shape_of(config: TrainConfig, tokenizer: Tokenizer, mdp: Any) -> GPTConfig:
    """Return the shape of a new model for a world."""
    states, actions = (int(np.char.str_len(t).max()) for t in (mdp.state_texts, mdp.action_texts))
    came_back = len(f"{-0.123456:g}\n") + states
    return GPTConfig(
        tokenizer.vocab_size, states + actions + came_back + 3, config.n_embd, config.n_layer, config.n_head,
        initializer_range=config.initializer_range, value_head=config.value_head,
    )  # fmt: skip


def _pretrained(config: TrainConfig, mdp: Any) -> tuple[TrainConfig, Tokenizer, GPT]:
    place = locate(str(config.model))
    model, tokenizer = GPT.from_pretrained(place), BPETokenizer.from_pretrained(place)
    shape = model.config
    if tokenizer.vocab_size > shape.vocab_size:
        raise CheckpointError(f"{place}: the tokenizer has {tokenizer.vocab_size} ids, but vocab_size in config.json is {shape.vocab_size}")
    for text in (*mdp.state_texts, *mdp.action_texts):
        for special in tokenizer.special_tokens:
            if special in text:
                raise UserError(f"{config.env}: the text {str(text)!r:.60} holds {special!r}, a special token of {place}")
    needed = longest_transcript(tokenizer, mdp)
    if needed > shape.n_positions:
        raise UserError(
            f"{config.env} has transcripts of up to {needed} tokens (state, action, what came back), but n_positions in "
            f"{place / 'config.json'} is {shape.n_positions}"
        )
    if config.value_head and not shape.value_head:
        model = with_value_head(model)
    return dataclasses.replace(config, **{name: getattr(shape, name) for name in SIZES}), tokenizer, model


def longest_transcript(tokenizer: Tokenizer, mdp: Any) -> int:
    r"""Return how many tokens of a transcript are read at most; :func:`minillm.training.transcript_ids` writes them.

    Byte-level BPE cuts between a number and the ``\n`` after it, so the reward and the state may be counted apart.
    """

    def longest(texts: Any) -> int:
        return int(tokenizer.encode_batch(texts)[1].max())

    states, actions = longest(mdp.state_texts), longest(mdp.action_texts)
    came_back = longest([f"{reward:g}" for reward in np.unique(mdp.rewards)]) + longest([f"\n{state}" for state in mdp.state_texts])
    return states + actions + came_back + 2


def with_value_head(model: GPT) -> GPT:
    """Return the model with a value head of zeros, which stands last in the vector."""
    zeros = np.zeros(model.config.n_embd + 1, model.parameters.vector.dtype)
    return GPT.from_vector(dataclasses.replace(model.config, value_head=True), np.concatenate([model.parameters.vector, zeros]))
