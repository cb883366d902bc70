"""Files of a byte-level BPE tokenizer, as Hugging Face writes them. What would change the ids and is not supported is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from minillm.bpe import LARGEST_ID
from minillm.checkpoint import write_json
from minillm.errors import TokenizerError
from minillm.json_object import read_object
from minillm.tokenizer import END_OF_TEXT

NEUTRAL: dict[str, Any] = {
    "normalizer": None, "truncation": None, "padding": None, "model.dropout": None, "model.unk_token": None,
    "model.continuing_subword_prefix": "", "model.end_of_word_suffix": "", "model.byte_fallback": False, "model.ignore_merges": False,
}  # fmt: skip
AFTER = ("ByteLevel", "TemplateProcessing")  # post-processors that leave the ids alone, where they name no special tokens


def load(directory: Path) -> tuple[dict[str, Any], str]:
    """Return the arguments of :class:`minillm.bpe.BPETokenizer` that the files of a directory state, and the files' names for messages."""
    if (directory / "tokenizer.json").is_file():
        arguments, where = _fast(directory / "tokenizer.json"), f"{directory / 'tokenizer.json'}"
    elif (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
        arguments, where = _slow(directory), f"{directory / 'vocab.json'} and merges.txt"
    else:
        raise TokenizerError(f"{directory} has neither tokenizer.json nor vocab.json and merges.txt")
    settings = _settings(directory)
    for key in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        if settings.get(key):
            raise TokenizerError(f"{directory / 'tokenizer_config.json'}: {key} = {settings[key]!r:.40} is not supported")
    eos = settings.get("eos_token") or END_OF_TEXT
    arguments["eos_token"] = eos.get("content") if isinstance(eos, dict) else eos
    if not isinstance(arguments["eos_token"], str):
        raise TokenizerError(f"{directory / 'tokenizer_config.json'}: eos_token must be a text, got {eos!r:.60}")
    return arguments, where


def save(tokenizer: Any, directory: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``, each atomically."""
    directory.mkdir(parents=True, exist_ok=True)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    whole = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "decoder": level, "post_processor": None,
        "added_tokens": [{"id": i, "content": text, **flags, "special": True} for text, i in tokenizer.special_tokens.items()],
        "pre_tokenizer": digits if tokenizer.digits else level,
        "model": {"type": "BPE", "vocab": tokenizer.vocab, "merges": [" ".join(pair) for pair in tokenizer.merges]},
    }  # fmt: skip
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": tokenizer.eos_token}
    for name, content in (("tokenizer.json", whole), ("tokenizer_config.json", config)):
        write_json(directory / name, content)


def _fast(path: Path) -> dict[str, Any]:
    whole = read_object(path, TokenizerError)
    model = _require(path, whole, "model", dict)
    if model.get("type", "BPE") != "BPE":
        raise TokenizerError(f"{path}: model.type is {model['type']!r}, expected 'BPE'")
    for key, neutral in NEUTRAL.items():
        value = (model if key.startswith("model.") else whole).get(key.removeprefix("model."), neutral)
        if value and value != neutral:
            raise TokenizerError(f"{path}: {key} = {value!r:.60} is not supported")
    after = whole.get("post_processor")
    if after is not None and (not isinstance(after, dict) or after.get("type") not in AFTER or after.get("special_tokens")):
        raise TokenizerError(f"{path}: post_processor = {after!r:.60} is not supported, it may add tokens")
    merges = [_pair(path, i, merge) for i, merge in enumerate(_require(path, model, "merges", list))]
    special = _added(path, _require(path, {"added_tokens": []} | whole, "added_tokens", list))
    digits = _digits(path, whole.get("pre_tokenizer"))
    return {"vocab": _require(path, model, "vocab", dict), "merges": merges, "special_tokens": special, "digits": digits}


def _slow(directory: Path) -> dict[str, Any]:
    path = directory / "merges.txt"
    lines = [line for line in _text(path).split("\n") if line.strip() and not line.startswith("#version")]
    vocab = read_object(directory / "vocab.json", TokenizerError)
    named = _settings(directory).get("added_tokens_decoder") or {}
    if not isinstance(named, dict) or not all(re.fullmatch("[0-9]{1,10}", i) and isinstance(t, dict) for i, t in named.items()):
        raise TokenizerError(f"{directory / 'tokenizer_config.json'}: added_tokens_decoder must map ids to tokens, got {named!r:.60}")
    special = _added(directory / "tokenizer_config.json", [{"id": int(i), **token} for i, token in named.items()])
    if END_OF_TEXT in vocab:
        special.setdefault(END_OF_TEXT, vocab[END_OF_TEXT])
    return {"vocab": vocab, "merges": [_pair(path, i, line) for i, line in enumerate(lines)], "special_tokens": special}


def _settings(directory: Path) -> dict[str, Any]:
    path = directory / "tokenizer_config.json"
    return read_object(path, TokenizerError) if path.is_file() else {}


def _digits(path: Path, settings: Any) -> bool:
    """Whether digits are cut apart; the one other thing understood is GPT-2's own pattern."""
    steps = settings.get("pretokenizers", [settings]) if isinstance(settings, dict) else []
    valid = isinstance(steps, list) and all(isinstance(step, dict) for step in steps)
    if not valid or [step.get("type") for step in steps] not in (["ByteLevel"], ["Digits", "ByteLevel"]):
        raise TokenizerError(f"{path}: pre_tokenizer must be ByteLevel, or Digits and ByteLevel, got {settings!r:.80}")
    if steps[-1].get("add_prefix_space") or not steps[-1].get("use_regex", True):
        raise TokenizerError(f"{path}: pre_tokenizer.add_prefix_space must be false and use_regex true, got {steps[-1]!r}")
    if len(steps) == 2 and not steps[0].get("individual_digits"):
        raise TokenizerError(f"{path}: pre_tokenizer Digits is supported with individual_digits = true alone")
    return len(steps) == 2


def _added(path: Path, tokens: list[Any]) -> dict[str, int]:
    special = {}
    for i, token in enumerate(tokens):
        if not isinstance(token, dict) or not isinstance(token.get("content"), str) or not token["content"] or not _is_id(token.get("id")):
            raise TokenizerError(f"{path}: added token {i} must have an id and a content, got {token!r:.80}")
        for flag, supported in (("single_word", False), ("lstrip", False), ("rstrip", False), ("special", True)):
            if token.get(flag, supported) != supported:
                raise TokenizerError(f"{path}: added token {token['content']!r} with {flag} = {token[flag]} is not supported")
        special[token["content"]] = token["id"]
    return special


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST_ID


def _pair(path: Path, index: int, merge: Any) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise TokenizerError(f"{path}: merge {index} must be two tokens, got {merge!r:.60}")
    return parts[0], parts[1]


def _require(path: Path, settings: dict[str, Any], key: str, kind: type) -> Any:
    if not isinstance(settings.get(key), kind):
        raise TokenizerError(f"{path}: {key} must be a JSON {'object' if kind is dict else 'array'}, got {settings.get(key)!r:.40}")
    return settings[key]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"{path} cannot be read: {error}") from None
