"""GPT-2 checkpoints: ``GPT2Config``'s keys and ``GPT2LMHeadModel``'s tensors, whose names and layout are ours."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from minillm.config import GPTConfig
from minillm.errors import CheckpointError, UserError
from minillm.json_object import read_object
from minillm.pretrained import directory
from minillm.pretrained.settings import read_options, require_architecture
from minillm.pretrained.weights import load_vector, require_tied
from minillm.transformer import GPT

ARCHITECTURES = ("GPT2LMHeadModel", "GPT2Model")
SIZES = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}  # where a config gives none
OWN = {field.name: field.name for field in dataclasses.fields(GPTConfig)}
ALIASES = {
    "hidden_size": "n_embd", "max_position_embeddings": "n_positions", "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer", "n_ctx": "n_positions",
}  # fmt: skip
ACTIVATIONS = {"swish": "silu", "gelu_pytorch_tanh": "gelu_new"}  # other names of the same functions
SKIPPED = "summary_.*|reorder_and_upcast_attn|is_decoder"  # other tasks' heads; a rounding in half precision; it always is one
BUFFERS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # the causal mask, in old checkpoints


def load(name: str | Path, dtype: Any = None) -> GPT:
    """Return the model of a directory; see :meth:`minillm.GPT.from_pretrained`."""
    place = directory.locate(name)
    config = read_config(place / "config.json")
    tensors = directory.open_tensors(place)
    if config.n_layer > len(tensors):
        raise CheckpointError(f"{place / 'config.json'}: n_layer is {config.n_layer}, but there are {len(tensors)} tensors in all")
    vector = load_vector(config.shapes(), tensors, lambda tensor: _parameter(tensor, config), dtype)
    model = GPT.from_vector(config, vector)
    if config.tie_word_embeddings:
        require_tied(tensors, "lm_head.weight", model.parameters["wte.weight"])
    return model


def read_config(path: Path) -> GPTConfig:
    """Return the configuration that a GPT-2 config.json gives.

    Raises
    ------
    CheckpointError
        If it is of another architecture, out of range, or asks for something that this implementation does not compute.
    """
    config = read_object(path, CheckpointError)
    require_architecture(config, path, "gpt2", ARCHITECTURES)
    options = SIZES | read_options(config, path, OWN | ALIASES, {}, SKIPPED)
    function = options.get("activation_function", "gelu_new")
    try:
        return GPTConfig(**options | {"activation_function": ACTIVATIONS.get(str(function), function)})
    except UserError as error:
        raise CheckpointError(f"{path}: {error}") from None


def save(model: GPT, name: str | Path, max_shard_bytes: int | None = None) -> None:
    """Write the model into a directory; see :meth:`minillm.GPT.save_pretrained`."""
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "bos_token_id": None, "eos_token_id": None}
    config |= dataclasses.asdict(model.config) | {"dtype": str(model.parameters.vector.dtype)}
    tensors = {_tensor(parameter): array for parameter, array in model.parameters.items()}
    directory.save(name, config, tensors, max_shard_bytes)


def _tensor(parameter: str) -> str:
    return parameter if parameter == "lm_head.weight" else "transformer." + parameter


def _parameter(tensor: str, config: GPTConfig) -> str | None:
    name = tensor.removeprefix("transformer.")
    if BUFFERS.fullmatch(name) or (name == "lm_head.weight" and config.tie_word_embeddings):
        return None
    return name
