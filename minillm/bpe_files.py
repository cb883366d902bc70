"""Files of a byte-level BPE tokenizer, as Hugging Face writes them. What would change the ids and is not supported is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minillm.checkpoint import write_json
from minillm.errors import TokenizerError
from minillm.json_object import read_object

NEUTRAL: dict[str, Any] = {
    "normalizer": None, "model.dropout": None, "model.unk_token": None, "model.continuing_subword_prefix": "",
    "model.end_of_word_suffix": "", "model.byte_fallback": False, "model.ignore_merges": False,
}  # fmt: skip


def load(directory: Path) -> dict[str, Any]:
    """Return the arguments of :class:`minillm.bpe.BPETokenizer` that the files of a directory state."""
    if (directory / "tokenizer.json").is_file():
        arguments = _fast(directory / "tokenizer.json")
    elif (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
        arguments = _slow(directory)
    else:
        raise TokenizerError(f"{directory} has neither tokenizer.json nor vocab.json and merges.txt")
    eos = _settings(directory).get("eos_token") or "<|endoftext|>"
    arguments["eos_token"] = eos["content"] if isinstance(eos, dict) else eos
    return arguments


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
    merges = [_pair(path, i, merge) for i, merge in enumerate(_require(path, model, "merges", list))]
    special = _added(path, whole.get("added_tokens") or [])
    digits = _digits(path, whole.get("pre_tokenizer"))
    return {"vocab": _vocab(path, _require(path, model, "vocab", dict)), "merges": merges, "special_tokens": special, "digits": digits}


def _slow(directory: Path) -> dict[str, Any]:
    path = directory / "merges.txt"
    lines = [line for line in _text(path).split("\n") if line.strip() and not line.startswith("#version")]
    vocab = _vocab(directory / "vocab.json", read_object(directory / "vocab.json", TokenizerError))
    settings = _settings(directory)
    if settings.get("add_prefix_space"):
        raise TokenizerError(f"{directory / 'tokenizer_config.json'}: add_prefix_space = True is not supported")
    named = settings.get("added_tokens_decoder") or {}
    special = _added(directory / "tokenizer_config.json", [{"id": int(i), **token} for i, token in named.items()])
    if "<|endoftext|>" in vocab:
        special.setdefault("<|endoftext|>", vocab["<|endoftext|>"])
    return {"vocab": vocab, "merges": [_pair(path, i, line) for i, line in enumerate(lines)], "special_tokens": special}


def _settings(directory: Path) -> dict[str, Any]:
    path = directory / "tokenizer_config.json"
    return read_object(path, TokenizerError) if path.is_file() else {}


def _digits(path: Path, settings: Any) -> bool:
    """Whether digits are cut apart; the one other thing understood is GPT-2's own pattern."""
    steps = settings.get("pretokenizers", [settings]) if isinstance(settings, dict) else []
    kinds = [step.get("type") if isinstance(step, dict) else step for step in steps]
    if kinds not in (["ByteLevel"], ["Digits", "ByteLevel"]):
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


def _vocab(path: Path, vocab: dict[str, Any]) -> dict[str, int]:
    owner: dict[int, str] = {}
    for token, i in vocab.items():
        if not _is_id(i) or i in owner:
            wrong = f"the same as {owner[i]!r}" if _is_id(i) else "not an integer from 0"
            raise TokenizerError(f"{path}: the id of token {token!r} is {i!r:.40}, {wrong}")
        owner[i] = token
    return vocab


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


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
