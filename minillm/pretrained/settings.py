"""config.json: a key that changes the maths is read or refused; the keys that are skipped are listed here, and no others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minillm.errors import CheckpointError

SKIPPED = re.compile(  # names with an underscore first, ids of special tokens, dropout (evaluation has none), and bookkeeping
    r"""
    _.* | .*_token_id | .*(pdrop|dropout|dropout_prob)
    | model_type | architectures | transformers_version | torch_dtype | dtype | name_or_path | tokenizer_class | language
    | return_dict | output_hidden_states | output_attentions | output_past | use_cache | use_bfloat16 | torchscript
    | chunk_size_feed_forward | gradient_checkpointing | xla_device | tf_legacy_loss | attn_implementation
    | experts_implementation | id2label | label2id | num_labels | problem_type | finetuning_task | task_specific_params
    | prefix | n_special | predict_special_tokens | max_length | min_length | do_sample | early_stopping | num_beams
    | num_beam_groups | diversity_penalty | temperature | top_k | top_p | typical_p | repetition_penalty | length_penalty
    | no_repeat_ngram_size | encoder_no_repeat_ngram_size | bad_words_ids | num_return_sequences | output_scores
    | return_dict_in_generate | remove_invalid_values | exponential_decay_length_penalty | suppress_tokens
    | begin_suppress_tokens
    """,
    re.VERBOSE,
)
OFF: dict[str, Sequence[Any]] = {
    "is_encoder_decoder": (False,), "tie_encoder_decoder": (False,), "add_cross_attention": (False,),
    "cross_attention_hidden_size": (None,), "pruned_heads": ({}, None), "per_layer_config": ({}, None), "quantization_config": (None,),
}  # fmt: skip


def read_options(
    config: Mapping[str, Any], path: Path, fields: Mapping[str, str], fixed: Mapping[str, Sequence[Any]], skipped: str
) -> dict[str, Any]:
    """Return the options that a config gives, under our names.

    Parameters
    ----------
    config : mapping
        What config.json holds.
    path : pathlib.Path
        Where it was read, for messages.
    fields : mapping of str to str
        Key in the file → our option; several keys may give the same.
    fixed : mapping of str to sequence
        Key → the values that need nothing of us; any other value is refused.
    skipped : str
        Regular expression of the architecture's keys that never change what is computed here.

    Raises
    ------
    CheckpointError
        At a value that is refused, a key that is neither known nor None or False, or two keys that contradict each other.
    """
    options: dict[str, Any] = {}
    allowed = OFF | dict(fixed)
    for key, value in config.items():
        if key in fields:
            if options.setdefault(fields[key], value) != value:
                raise CheckpointError(f"{path}: {key} is {value!r:.80}, but {fields[key]} is {options[fields[key]]!r:.80}")
        elif key in allowed:
            if value not in allowed[key]:
                expected = " or ".join(repr(one) for one in allowed[key])
                raise CheckpointError(f"{path}: {key} = {value!r:.80} changes the maths and is not supported, expected {expected}")
        elif not (SKIPPED.fullmatch(key) or re.fullmatch(skipped, key)) and value is not None and value is not False:
            raise CheckpointError(f"{path}: {key!r:.80} is unknown and may change the maths; take it out if it does not")
    return options


def require_architecture(config: Mapping[str, Any], path: Path, model_type: str, architectures: Sequence[str]) -> None:
    """Raise :class:`CheckpointError` unless config.json is of that kind of model."""
    found = config.get("model_type")
    if found != model_type:
        raise CheckpointError(f"{path}: model_type is {found!r:.80}, expected {model_type!r}")
    named = config.get("architectures") or [architectures[0]]
    if not isinstance(named, list) or not any(name in architectures for name in named):
        raise CheckpointError(f"{path}: architectures is {named!r:.80}, expected one of {', '.join(architectures)}")
