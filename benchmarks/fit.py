"""A whole run of `minillm fit` at nanoGPT's CPU setting against PyTorch: same text, split, initial parameters, data order.

FIT_TEXTS (files, separated by colons; the sonnets), FIT_STEPS (2000) and FIT_ROUNDS (1) in the environment change what is run.
Both sides evaluate the same validation blocks as often; ours saves its checkpoints too.
"""

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import torch_gpt
from minillm.corpus import random_blocks
from minillm.evaluation import EVALUATED_TOKENS
from minillm.fit_config import FitConfig
from minillm.objectives import IGNORE
from minillm.optimizers import warmup_cosine
from minillm.text_run import DATA, TextRun, read_corpus
from minillm.threads import recycle_memory

CLOSE_STEPS = 50  # over these the two curves must agree to CLOSE
CLOSE = 1e-3
Curve = tuple[float, np.ndarray, float]  # seconds, loss of each step, last validation loss


def ours(config: FitConfig, texts: list[Path]) -> Curve:
    """Run `minillm fit` in a directory that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        run = TextRun(config, read_corpus(texts, config), Path(folder), quiet=True)
        start = time.perf_counter()
        run.execute()
        seconds = time.perf_counter() - start
        records = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    validation = [record["validation_loss"] for record in records if "validation_loss" in record]
    return seconds, np.array([record["loss"] for record in records if "loss" in record]), validation[-1]


def theirs(config: FitConfig, texts: list[Path]) -> Curve:
    """Train the peer from the same parameters on the same batches."""
    run = TextRun(config, read_corpus(texts, config), Path())
    peer = torch_gpt.from_ours(run.model)
    optimizer = _adamw(peer, config)
    start = time.perf_counter()
    losses, validation = [], _evaluate(peer, run)
    for step in range(config.steps):
        batch = random_blocks(run.corpus.train, config.n_positions, config.batch_size, rng=run._stream(DATA, step))
        ids, targets = (torch.from_numpy(np.ascontiguousarray(part)) for part in batch)
        for group in optimizer.param_groups:
            group["lr"] = warmup_cosine(step, config.warmup_steps, config.steps, config.lr, config.min_lr)
        optimizer.zero_grad(set_to_none=True)
        loss = torch_gpt.cross_entropy(peer(ids)[0], targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), config.max_norm)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % config.eval_every == 0 or step + 1 == config.steps:
            validation = _evaluate(peer, run)
    _evaluate(peer, run, whole=True)  # as our summary does
    return time.perf_counter() - start, np.array(losses), validation


def _adamw(peer: torch_gpt.TorchGPT, config: FitConfig) -> torch.optim.Optimizer:
    """AdamW in its fastest form, with decay on matrices only."""
    groups = [
        {"params": [p for p in peer.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in peer.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, config.lr, (config.beta_1, config.beta_2), fused=True)


@torch.no_grad()
def _evaluate(peer: torch_gpt.TorchGPT, run: TextRun, whole: bool = False) -> float:
    inputs, targets = run.validation if whole else run.probe
    rows, total = EVALUATED_TOKENS // inputs.shape[1], 0.0
    for start in range(0, len(inputs), rows):
        logits, _ = peer(torch.from_numpy(inputs[start : start + rows]))
        wanted = torch.from_numpy(targets[start : start + rows]).reshape(-1)
        total += torch.nn.functional.cross_entropy(
            logits.reshape(len(wanted), -1), wanted, ignore_index=IGNORE, reduction="sum"
        ).item()
    return total / int((targets != IGNORE).sum())


def main(options: argparse.Namespace) -> None:
    """Run both, compare the curves, print the ratio of the wall times."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    torch.set_num_threads(options.threads)
    recycle_memory()
    texts = [Path(path) for path in os.environ.get("FIT_TEXTS", "").split(":") if path]
    config = dataclasses.replace(FitConfig(sample_length=0), steps=int(os.environ.get("FIT_STEPS", "2000")))
    rounds = [(ours(config, texts), theirs(config, texts)) for _ in range(int(os.environ.get("FIT_ROUNDS", "1")))]
    (_, mine, loss), (_, peers, peer_loss) = rounds[0]
    apart = float(np.abs(mine - peers)[:CLOSE_STEPS].max())
    if not apart < CLOSE:
        raise SystemExit(f"the curves are {apart:.1e} apart in the first {CLOSE_STEPS} steps, allowed {CLOSE:.0e}")
    result = {
        "threads": options.threads,
        "steps": config.steps,
        "seconds": statistics.median(a[0] for a, _ in rounds),
        "torch_seconds": statistics.median(b[0] for _, b in rounds),
        "ratio": statistics.median(b[0] / a[0] for a, b in rounds),
        "apart_first_50": apart,
        "validation_loss": loss,
        "torch_validation_loss": peer_loss,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    print(json.dumps(result) if options.json else "\n".join(f"{name:24}{value}" for name, value in result.items()))
