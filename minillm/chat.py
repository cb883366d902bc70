r"""A chat model: a conversation whose answers come as they are written.

A turn is ``<|im_start|>role⏎content<|im_end|>⏎`` (ChatML). The model has learnt to go on after ``<|im_start|>assistant⏎`` and to end with
``<|im_end|>``. What was said stays in the key/value cache: of each turn only the new tokens are read.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm.bpe import BPETokenizer
from minillm.decoding import Sampling, read, sample
from minillm.errors import CheckpointError, TokenizerError, UserError
from minillm.json_object import read_object
from minillm.kv_cache import KeyValueCache
from minillm.llama import Llama
from minillm.pretrained import llama_gguf
from minillm.pretrained.directory import locate
from minillm.pretrained.gguf_file import GGUF

START, END = "<|im_start|>", "<|im_end|>"
ASSISTANT = f"{START}assistant\n"
DEFAULT_SYSTEM = re.compile(r"<\|im_start\|>system(?:\\n|\n)([^'\"{}]*?)<\|im_end\|>")  # as a template writes it out


def turn(role: str, content: str) -> str:
    """Return one turn of a conversation as text."""
    return f"{START}{role}\n{content}{END}\n"


class ChatTokenizer(BPETokenizer):
    """A chat model's tokenizer as an agent has it: a state is what the user says, an action is the answer, up to ``<|im_end|>``.

    Parameters
    ----------
    tokenizer : BPETokenizer
    system : str
        What the model is told first: the rules of the game.
    """

    def __init__(self, tokenizer: BPETokenizer, system: str = "") -> None:
        vars(self).update(vars(tokenizer))  # the same tables
        self.before = turn("system", system) if system else ""

    def encode_prompts(self, states: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode the prompts of many states, each up to the words that begin an answer."""
        return self.encode_batch([self.before + turn("user", str(state)) + ASSISTANT for state in states])


class Conversation:
    """What was said so far, and the model that answers.

    Parameters
    ----------
    model : LanguageModel
    tokenizer : BPETokenizer
    sampling : Sampling
    system : str
        What the model is told first; nothing when empty.
    rng : seed or numpy.random.Generator
    """

    def __init__(self, model: Llama, tokenizer: BPETokenizer, sampling: Sampling, *, system: str, rng: Any) -> None:
        self.model, self.tokenizer, self.sampling = model, tokenizer, sampling
        self.rng = np.random.default_rng(rng)
        self._unread = tokenizer.encode(turn("system", system) if system else "")
        self._past: KeyValueCache | None = None

    def answer(self, text: str, max_new_tokens: int, on_text: Callable[[str], None] = lambda text: None) -> str:
        """Return the answer to what the user says; ``on_text`` is called with each piece of it as soon as it is whole characters.

        When the conversation does not fit into ``n_positions`` tokens, its last half is read again from position 0, and it goes on.

        Raises
        ------
        UserError
            If the text alone is longer than ``n_positions`` tokens.
        """
        ids = np.concatenate([self._unread, self.tokenizer.encode(turn("user", text) + ASSISTANT)])
        self._past, logits = read(self.model, *self._fitting(ids), past=self._past)
        decoder, pieces = codecs.getincrementaldecoder("utf-8")("replace"), []

        def on_token(rows: np.ndarray, tokens: np.ndarray) -> None:
            pieces.append(decoder.decode(self.tokenizer.decode_bytes(tokens, skip_special_tokens=True)))
            on_text(pieces[-1])

        eos = self.tokenizer.eos_token_id
        new = sample(self.model, self._past, logits, max_new_tokens, self.sampling, eos, self.rng, on_token)
        pieces.append(decoder.decode(b"", final=True))
        on_text(pieces[-1])
        last = new.ids[0, -1:]  # drawn, and not read yet
        self._unread = np.concatenate([last, self.tokenizer.encode("\n" if last[0] == eos else END + "\n")])
        return "".join(pieces)

    def _fitting(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ids to read, as a batch of one, and their number; the past is forgotten where it leaves no room."""
        limit = self.model.config.n_positions
        if len(ids) > limit:
            raise UserError(f"the text has {len(ids)} tokens, more than n_positions = {limit}")
        if self._past is not None and self._past.lengths[0] + len(ids) > limit:
            said = np.concatenate([self._past.ids[0, : self._past.lengths[0]], ids])
            ids, self._past = said[-max(len(ids), limit // 2) :], None
        return ids[None], np.array([len(ids)])


def load(name: str | Path) -> tuple[Llama, BPETokenizer, str]:
    """Return a chat model, its tokenizer, and what its template tells it first, from a GGUF file or a directory in the Hugging Face layout.

    Raises
    ------
    UserError
        If it is missing, damaged, no Llama, or not made for chats in this form; the message names file and key.
    """
    path = Path(name)
    if path.is_file() or path.suffix == ".gguf":
        file = GGUF(path)
        tokenizer, template = llama_gguf.load_tokenizer(file), file.metadata.get("tokenizer.chat_template", "")
        _require_chat(path, tokenizer)
        model = llama_gguf.load_model(file, np.float32)
    else:
        path = locate(name)
        tokenizer, template = BPETokenizer.from_pretrained(path), _template(path)
        _require_chat(path, tokenizer)
        model = Llama.from_pretrained(path)
    if tokenizer.vocab_size > model.config.vocab_size:
        sizes = f"{tokenizer.vocab_size} ids, but the embedding of the model has {model.config.vocab_size} rows"
        raise CheckpointError(f"{path}: the tokenizer has {sizes}")
    found = DEFAULT_SYSTEM.search(str(template))
    return model, tokenizer, found[1] if found else ""


def _template(directory: Path) -> Any:
    alone, settings = directory / "chat_template.jinja", directory / "tokenizer_config.json"
    if alone.is_file():
        return alone.read_text(encoding="utf-8", errors="replace")
    return read_object(settings, TokenizerError).get("chat_template") if settings.is_file() else ""


def _require_chat(path: Path, tokenizer: BPETokenizer) -> None:
    for token in (START, END):
        if token not in tokenizer.special_tokens:
            raise TokenizerError(f"{path}: has no token {token}, which starts or ends a turn: not a chat model of the form known here")
    if tokenizer.eos_token != END:
        raise TokenizerError(f"{path}: its end token is {tokenizer.eos_token!r}, expected {END!r}: not a chat model of the form known here")
