"""Make tests/data/agent: a random GPT-2 of ordinary layout, with a small byte-level BPE, for `minillm train ENV --model tests/data/agent`.

    python tests/make_agent_data.py [DIRECTORY]

The merges are those of environments' texts: two letters of the strings, the fields of a grid, its actions. So an action has one token
or several, and a text has more than one spelling.
"""

import json
import sys
from pathlib import Path

import numpy as np

from minillm import GPT, GPTConfig
from minillm.bpe import byte_characters
from minillm.pretrained.safetensors import SafeTensors, write_safetensors

MERGES = ["a b", "b c", "ab c", ". .", ".. ..", "u p", "o w", "d ow", "dow n", "l e", "le f", "lef t", "i g", "ig h", "r igh", "righ t"]


def make(directory: Path) -> None:
    """Write config.json, model.safetensors in float16, vocab.json and merges.txt."""
    directory.mkdir(parents=True, exist_ok=True)
    tokens = [*byte_characters(), *(merge.replace(" ", "") for merge in MERGES), "<|endoftext|>"]
    GPT(GPTConfig(len(tokens), 96, 16, 2, 2, initializer_range=0.1), rng=7).save_pretrained(directory)
    path = directory / "model.safetensors"
    write_safetensors(path, {name: array.astype(np.float16) for name, array in SafeTensors(path).items()}, {"format": "pt"})
    (directory / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False), encoding="utf-8")
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data" / "agent")
