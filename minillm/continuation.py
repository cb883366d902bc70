"""A text goes on: prompt in, characters out, each as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.decoding import Sampling, read, sample
from minillm.errors import TokenizerError, UserError
from minillm.language_model import LanguageModel
from minillm.tokenizer import CharTokenizer


def prompt_ids(tokenizer: CharTokenizer, prompt: str, longest: int) -> np.ndarray:
    """Return the last ``longest`` ids of a prompt; those of an empty one are the end-of-text token, which starts each text.

    Raises
    ------
    UserError
        If the prompt has a character that the corpus lacks; the message names it and says what to do.
    """
    try:
        ids = tokenizer.encode(prompt) if prompt else np.array([tokenizer.eos_token_id])
    except TokenizerError as error:
        known = "".join(tokenizer.characters)
        raise UserError(
            f"{error}: the corpus of this model lacks it; write the prompt with {known!r}, or fit a model on a text that has it"
        ) from None
    return ids[-longest:].astype(np.int64)


def continue_text(
    model: LanguageModel,
    tokenizer: CharTokenizer,
    prompt: str,
    length: int,
    sampling: Sampling,
    *,
    rng: Any,
    on_text: Callable[[str], None] = lambda text: None,
) -> str:
    """Return up to ``length`` characters that follow ``prompt``, fewer where the model ends the text.

    Parameters
    ----------
    model : LanguageModel
    tokenizer : CharTokenizer
    prompt : str
        Of a long one, the last ``n_positions`` characters are read.
    length : int
    sampling : Sampling
    rng : seed or numpy.random.Generator
    on_text : callable
        Called with each character as soon as it is drawn.

    Notes
    -----
    The text may be longer than ``n_positions``: when the context is full, its last half is read again from position 0, and the
    text goes on (:mod:`minillm.decoding`).
    """
    ids = prompt_ids(tokenizer, prompt, model.config.n_positions)
    past, logits = read(model, ids[None], np.array([len(ids)]), room=min(model.config.n_positions, len(ids) + length))

    def on_token(rows: np.ndarray, tokens: np.ndarray) -> None:
        on_text(tokenizer.decode(tokens, skip_special_tokens=True))

    rng = np.random.default_rng(rng)
    new = sample(model, past, logits, length, sampling, tokenizer.eos_token_id, rng, on_token)
    return tokenizer.decode(new.ids[0, : new.lengths[0]], skip_special_tokens=True)
