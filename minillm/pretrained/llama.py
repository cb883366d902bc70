"""Llama checkpoints: ``LlamaConfig``'s keys and ``LlamaForCausalLM``'s tensors, whose names and layout are ours."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from minillm.errors import CheckpointError, UserError
from minillm.json_object import read_object
from minillm.llama import Llama
from minillm.llama_config import EMBEDDING, HEAD, LlamaConfig
from minillm.pretrained import directory
from minillm.pretrained.settings import read_options, require_architecture
from minillm.pretrained.weights import load_vector, require_tied

ARCHITECTURES = ("LlamaForCausalLM", "LlamaModel")
SIZES = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
}  # where a config gives none  # fmt: skip
OWN = {field.name: field.name for field in dataclasses.fields(LlamaConfig)}
FIXED = {
    "hidden_act": ("silu", "swish"), "attention_bias": (False, None), "mlp_bias": (False, None), "rope_scaling": (None,),
    "rope_type": ("default",), "pretraining_tp": (1, None), "partial_rotary_factor": (1.0, None),
}  # fmt: skip
SKIPPED = r"is_llama_config|transformers\.js_config"
BUFFERS = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")  # in old checkpoints


def load(name: str | Path, dtype: Any = None) -> Llama:
    """Return the model of a directory; see :meth:`minillm.Llama.from_pretrained`."""
    place = directory.locate(name)
    config = read_config(place / "config.json")
    tensors = directory.open_tensors(place)
    if config.num_hidden_layers > len(tensors):
        counts = f"{config.num_hidden_layers}, but there are {len(tensors)} tensors in all"
        raise CheckpointError(f"{place / 'config.json'}: num_hidden_layers is {counts}")

    def rename(tensor: str) -> str | None:
        name = tensor if tensor == HEAD else "model." + tensor.removeprefix("model.")
        return None if BUFFERS.fullmatch(name) or (name == HEAD and config.tie_word_embeddings) else name

    model = Llama.from_vector(config, load_vector(config.shapes(), tensors, rename, dtype))
    if config.tie_word_embeddings:
        require_tied(tensors, HEAD, model.parameters[EMBEDDING])
    return model


def read_config(path: Path) -> LlamaConfig:
    """Return the configuration that a Llama config.json gives.

    Raises
    ------
    CheckpointError
        If it is of another architecture, out of range, or asks for something that this implementation does not compute.
    """
    config = read_object(path, CheckpointError)
    require_architecture(config, path, "llama", ARCHITECTURES)
    rope = config.pop("rope_parameters", None) or {}  # since transformers 5; before, rope_theta stood with the others
    if not isinstance(rope, dict):
        raise CheckpointError(f"{path}: rope_parameters must be a JSON object, got {rope!r:.40}")
    options = read_options(config, path, OWN, FIXED, SKIPPED)
    turned = read_options(rope, path, {"rope_theta": "rope_theta"}, FIXED, "")
    if options.get("rope_theta", turned.get("rope_theta")) != turned.get("rope_theta", options.get("rope_theta")):
        raise CheckpointError(f"{path}: rope_theta is {options['rope_theta']!r:.40}, but {turned['rope_theta']!r:.40} in rope_parameters")
    try:
        return LlamaConfig(**SIZES | options | turned)
    except UserError as error:
        raise CheckpointError(f"{path}: {error}") from None


def save(model: Llama, name: str | Path, max_shard_bytes: int | None = None) -> None:
    """Write the model into a directory; see :meth:`minillm.Llama.save_pretrained`."""
    options = dataclasses.asdict(model.config)
    config: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu"}
    config |= {"bos_token_id": None, "eos_token_id": None, "dtype": str(model.parameters.vector.dtype)}
    config |= {key: value for key, value in options.items() if value is not None}
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": model.config.rope_theta}
    directory.save(name, config, model.parameters, max_shard_bytes)
