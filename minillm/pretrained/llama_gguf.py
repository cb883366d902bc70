"""GGUF files of the Llama architecture: configuration, weights and tokenizer under our names.

The rows of query and key weights stand in the order of neighbouring pairs there and of halves here; see :mod:`minillm.ops.rotary`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from minillm.bpe import BPETokenizer
from minillm.errors import CheckpointError, TokenizerError, UserError
from minillm.llama import Llama
from minillm.llama_config import EMBEDDING, HEAD, LlamaConfig
from minillm.ops.rotary import halves_from_pairs
from minillm.pretrained.gguf_file import GGUF
from minillm.pretrained.weights import load_vector

KEYS = {  # metadata → option, after "llama."
    "vocab_size": "vocab_size", "context_length": "max_position_embeddings", "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers", "feed_forward_length": "intermediate_size", "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads", "attention.layer_norm_rms_epsilon": "rms_norm_eps", "rope.freq_base": "rope_theta",
    "rope.dimension_count": "head_dim",
}  # fmt: skip
REQUIRED = ("context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count")
FIXED = {"rope.scaling.type": ("none",), "expert_count": (0,), "expert_used_count": (0,), "attention.causal": (True,)}
TENSORS = {"token_embd": EMBEDDING, "output_norm": "model.norm.weight", "output": HEAD}
PARTS = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
DIGITS = {"smollm": True, "gpt-2": False}  # how a text is cut before merging: between digits, or by GPT-2's pattern alone
NORMAL, UNUSED, BYTE = 1, 5, 6  # types of tokens; the others are matched whole


def load(path: str | Path, dtype: Any) -> Llama:
    """Return the model of a file; see :meth:`minillm.Llama.from_gguf`."""
    return load_model(GGUF(path), dtype)


def load_model(file: GGUF, dtype: Any) -> Llama:
    """Return the model of an opened file."""
    config = read_config(file)
    names = {tensor_name(parameter): parameter for parameter in config.shapes()}
    for name in names:
        if name not in file:
            raise CheckpointError(f"{file.path}: the tensor {name!r} is missing")

    def rename(tensor: str) -> str:
        return names.get(tensor, tensor)

    vector = load_vector(config.shapes(), dict.fromkeys(file, file), rename, dtype, "its metadata")
    model = Llama.from_vector(config, vector)
    for name, view in model.parameters.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            view[...] = halves_from_pairs(view.copy(), len(view) // config.heads[2])
    return model


def read_config(file: GGUF) -> LlamaConfig:
    """Return the configuration that the metadata gives.

    Raises
    ------
    CheckpointError
        If it is of another architecture, a key is missing or out of range, or asks for something that is not computed here.
    """
    options: dict[str, Any] = {"tie_word_embeddings": "output.weight" not in file}
    found = file.metadata.get("general.architecture")
    if found != "llama":
        raise CheckpointError(f"{file.path}: general.architecture is {found!r:.80}, expected 'llama'")
    for key, value in file.metadata.items():
        part = key.removeprefix("llama.")
        if part in KEYS:
            options[KEYS[part]] = value
        elif key.startswith("llama.") and value not in FIXED.get(part, ()):
            raise CheckpointError(f"{file.path}: {key} = {value!r:.40} may change the maths and is not supported")
    for part in REQUIRED:
        if KEYS[part] not in options:
            raise CheckpointError(f"{file.path}: the key 'llama.{part}' is missing")
    if "token_embd.weight" in file:
        options.setdefault("vocab_size", file.shape("token_embd.weight")[0])
    if isinstance(options["num_hidden_layers"], int) and options["num_hidden_layers"] > len(file):
        raise CheckpointError(f"{file.path}: llama.block_count is {options['num_hidden_layers']}, but there are {len(file)} tensors in all")
    try:
        return LlamaConfig(**{"vocab_size": 0} | options)
    except UserError as error:
        raise CheckpointError(f"{file.path}: {error}") from None


def tensor_name(parameter: str) -> str:
    """Return GGUF's name of a parameter."""
    block = re.fullmatch(r"model\.layers\.(\d+)\.(.*)\.weight", parameter)
    if block:
        return f"blk.{block[1]}.{_inverse(PARTS)[block[2]]}.weight"
    return _inverse(TENSORS)[parameter] + ".weight"


def load_tokenizer(file: GGUF) -> BPETokenizer:
    """Return the byte-level BPE tokenizer of an opened file.

    Raises
    ------
    TokenizerError
        If there is none, or it is of another kind; the message names the key.
    """
    tokens, merges = (_strings(file, f"tokenizer.ggml.{name}") for name in ("tokens", "merges"))
    kinds = file.metadata.get("tokenizer.ggml.token_type", [NORMAL] * len(tokens))
    settings = {name: file.metadata.get(f"tokenizer.ggml.{name}") for name in ("model", "pre", "add_space_prefix", "eos_token_id")}
    for name, known in (("model", ("gpt2",)), ("pre", tuple(DIGITS)), ("add_space_prefix", (None, False))):
        if settings[name] not in known:
            raise TokenizerError(f"{file.path}: tokenizer.ggml.{name} is {settings[name]!r:.60}, expected one of {known}")
    if not isinstance(kinds, list) or len(kinds) != len(tokens):
        raise TokenizerError(f"{file.path}: tokenizer.ggml.token_type must have one entry for each of {len(tokens)} tokens")
    eos = settings["eos_token_id"]
    if not isinstance(eos, int) or not 0 <= eos < len(tokens):
        raise TokenizerError(f"{file.path}: tokenizer.ggml.eos_token_id is {eos!r:.40}, expected an id below {len(tokens)}")
    pairs = [merge.split(" ", 1) for merge in merges]
    if not all(len(pair) == 2 for pair in pairs):
        raise TokenizerError(f"{file.path}: tokenizer.ggml.merges must hold pairs of tokens")
    special = {token: i for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind not in (NORMAL, UNUSED, BYTE)}
    vocab = {token: i for i, token in enumerate(tokens)}
    try:
        return BPETokenizer(vocab, [(left, right) for left, right in pairs], special, tokens[eos], DIGITS[str(settings["pre"])])
    except TokenizerError as error:
        raise TokenizerError(f"{file.path}: {error}") from None


def _strings(file: GGUF, key: str) -> list[str]:
    found = file.metadata.get(key)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise TokenizerError(f"{file.path}: {key} must be an array of strings, got {found!r:.40}")
    return found


def _inverse(names: dict[str, str]) -> dict[str, str]:
    return {ours: theirs for theirs, ours in names.items()}
