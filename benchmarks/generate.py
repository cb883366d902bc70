"""Generating 64 tokens with a key/value cache, greedily, so that all sides must write the same."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.report import show
from benchmarks.rounds import Row, Side, absent, compare, present
from benchmarks.shapes import SHAPES, chosen
from minillm import GPT
from minillm.threads import recycle_memory

PROMPT, NEW = 8, 64
LOOP, TRANSFORMERS, NAIVE = "torch loop with a cache", "transformers generate", "NumPy without a cache"
AIMS = {
    ("micro", 1): {LOOP: 7, TRANSFORMERS: 25}, ("tiny", 1): {LOOP: 4.5, TRANSFORMERS: 9}, ("small", 1): {LOOP: 1.9, TRANSFORMERS: 2.7},
    ("micro", 32): {LOOP: 3}, ("tiny", 32): {LOOP: 1.6}, ("small", 32): {LOOP: 1.25},
}  # fmt: skip
Generate = Callable[[], np.ndarray]


def naive(model: GPT, prompts: np.ndarray) -> np.ndarray:
    """Read everything again for each new token."""
    ids = prompts
    for _ in range(NEW):
        logits, _ = model.forward(ids, keep=False)
        ids = np.concatenate([ids, logits[:, -1:].argmax(axis=-1)], axis=1)
    return ids


def torch_loop(model: GPT, prompts: np.ndarray) -> Generate:
    """Return the loop that is usually written by hand."""
    import torch

    from benchmarks.peers import torch_gpt

    peer, ids = torch_gpt.from_ours(model), torch.from_numpy(prompts)
    return lambda: torch_gpt.generate(peer, ids, NEW).numpy()


def transformers_generate(model: GPT, prompts: np.ndarray) -> Generate:
    """Return Hugging Face's ``generate`` over the same parameters, passed through a directory."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        peer = transformers.GPT2LMHeadModel.from_pretrained(directory).eval()
    ids = torch.from_numpy(prompts)
    options = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0, "eos_token_id": None, "attention_mask": torch.ones_like(ids)}
    return lambda: peer.generate(ids, **options).numpy()


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the lines shape by shape, batch 1 and 32."""
    for name in chosen(options.shapes, ["micro", "tiny", "small"]):
        shape = SHAPES[name]
        model = shape.model(max(shape.T, PROMPT + NEW))
        for batch in (1, 32):
            yield from at(f"{name}, batch {batch}", model, shape.tokens(batch, PROMPT), AIMS.get((name, batch), {}), options)


def at(case: str, model: GPT, prompts: np.ndarray, aims: dict[str, float], options: argparse.Namespace) -> list[Row]:
    """Assert that all sides write the same tokens, then alternate them."""

    def ours() -> np.ndarray:
        return model.generate(prompts, max_new_tokens=NEW)

    makers: dict[str, Callable[[], Generate]] = {
        LOOP: lambda: torch_loop(model, prompts), TRANSFORMERS: lambda: transformers_generate(model, prompts),
        NAIVE: lambda: lambda: naive(model, prompts),
    }  # fmt: skip
    there, missing = present(makers, options.peers)
    for peer, generate in there.items():
        np.testing.assert_array_equal(ours(), generate(), err_msg=f"{case}: {peer} writes something else")
    sides = {peer: Side(generate) for peer, generate in there.items()}
    return compare(case, Side(ours), sides, aims, options.seconds) + absent(case, missing)


def main(options: argparse.Namespace) -> None:
    """Print the comparison at each shape."""
    recycle_memory()
    show(options, "generate", f"{NEW} tokens after {PROMPT}, greedy, medians of alternating rounds", rows(options))
