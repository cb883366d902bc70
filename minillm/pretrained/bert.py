"""BERT checkpoints: ``BertConfig``'s keys, and the tensors of ``BertModel``, ``BertForMaskedLM`` and ``BertForPreTraining``."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from minillm.bert import BERT
from minillm.bert_config import DECODER, BERTConfig
from minillm.errors import CheckpointError, UserError
from minillm.json_object import read_object
from minillm.pretrained import directory
from minillm.pretrained.settings import read_options, require_architecture
from minillm.pretrained.weights import load_vector, require_tied

ARCHITECTURES = ("BertForMaskedLM", "BertModel", "BertForPreTraining")
SIZES = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
}  # fmt: skip
OWN = {field.name: field.name for field in dataclasses.fields(BERTConfig) if field.name != "masked_lm"}
FIXED = {"position_embedding_type": ("absolute", None), "is_decoder": (False,)}
SKIPPED = "pooler_.*|directionality"
UNUSED = re.compile(r"embeddings\.position_ids|embeddings\.token_type_ids|pooler\.dense\.(weight|bias)|cls\.seq_relationship\.(weight|bias)")
BIAS, DECODER_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"
WORDS = "embeddings.word_embeddings.weight"


def load(name: str | Path, dtype: Any = None) -> BERT:
    """Return the model of a directory; see :meth:`minillm.BERT.from_pretrained`."""
    place = directory.locate(name)
    path = place / "config.json"
    options = read_config(path)
    tensors = directory.open_tensors(place)
    headed = any(tensor.startswith("cls.predictions.") for tensor in tensors)
    try:
        config = BERTConfig(**options, masked_lm=headed)
    except UserError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if config.num_hidden_layers > len(tensors):
        raise CheckpointError(f"{path}: num_hidden_layers is {config.num_hidden_layers}, but there are {len(tensors)} tensors in all")
    untied_bias = not config.tie_word_embeddings and DECODER_BIAS in tensors

    def rename(tensor: str) -> str | None:
        parameter = _modern(tensor)
        if UNUSED.fullmatch(parameter) or (parameter == DECODER and config.tie_word_embeddings):
            return None
        if parameter in (BIAS, DECODER_BIAS):  # the same where they are tied; else the decoder's is the one that is added
            return BIAS if (parameter == DECODER_BIAS) == untied_bias else None
        return parameter

    model = BERT.from_vector(config, load_vector(config.shapes(), tensors, rename, dtype))
    if config.tie_word_embeddings:
        require_tied(tensors, DECODER, model.parameters[WORDS])
    return model


def read_config(path: Path) -> dict[str, Any]:
    """Return the options of :class:`minillm.BERTConfig` that a BERT config.json gives.

    Raises
    ------
    CheckpointError
        If it is of another architecture, or asks for something that this implementation does not compute.
    """
    config = read_object(path, CheckpointError)
    require_architecture(config, path, "bert", ARCHITECTURES)
    return SIZES | read_options(config, path, OWN, FIXED, SKIPPED)


def save(model: BERT, name: str | Path, max_shard_bytes: int | None = None) -> None:
    """Write the model into a directory; see :meth:`minillm.BERT.save_pretrained`."""
    options = dataclasses.asdict(model.config)
    headed = options.pop("masked_lm")
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM" if headed else "BertModel"]}
    config |= options | {"dtype": str(model.parameters.vector.dtype)}
    prefix = "bert." if headed else ""
    tensors = {k if k.startswith("cls.") else prefix + k: array for k, array in model.parameters.items()}
    if headed and not model.config.tie_word_embeddings:
        tensors[DECODER_BIAS] = tensors[BIAS]
    directory.save(name, config, tensors, max_shard_bytes)


def _modern(tensor: str) -> str:
    """A tensor's name without prefix, and as it is since 2019."""
    name = tensor.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
