"""A whole run of `minillm fit` at nanoGPT's CPU setting against PyTorch: same text, split, initial parameters, data order.

``--updates N`` takes so many steps; FIT_TEXTS in the environment names files, separated by colons, instead of the sonnets.
Both sides evaluate the same validation blocks as often, and take turns from one evaluation to the next; ours saves its checkpoints too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report import show
from benchmarks.rounds import Row, absent, present, repeat, row
from minillm.corpus import random_blocks, yardsticks
from minillm.evaluation import EVALUATED_TOKENS
from minillm.fit_config import FitConfig
from minillm.objectives import IGNORE
from minillm.optimizers import warmup_cosine
from minillm.progress import Progress
from minillm.text_run import DATA, TextRun, read_corpus
from minillm.threads import recycle_memory

if TYPE_CHECKING:
    from benchmarks.peers.torch_gpt import TorchGPT

PEER, MOST_ROUNDS = "torch eager", 5
CLOSE_STEPS = 50  # over these the two curves must agree to CLOSE
CLOSE = 1e-3


class Turns(TextRun):
    """`minillm fit`, which after each of its evaluations waits while the peer goes as far.

    Runs that take minutes and follow each other would be compared across the moods of the machine.

    Attributes
    ----------
    seconds : [float, float]
        Of ours, of the peer.
    its_losses : list of float
        Of each step of the peer.
    """

    def __init__(self, config: FitConfig, texts: list[Path], folder: Path) -> None:
        super().__init__(config, read_corpus(texts, config), folder, quiet=True)
        self.its_losses: list[float] = []
        self.peer, self.seconds = theirs(config, texts, self.its_losses), [0.0, 0.0]
        self.its_validation_loss = next(self.peer)  # makes it ready
        self.since = time.perf_counter()

    def _evaluate(self, progress: Progress) -> None:
        super()._evaluate(progress)
        self.let_peer()

    def let_peer(self) -> None:
        """Note our time, then the peer's until its next evaluation."""
        paused = time.perf_counter()
        self.its_validation_loss = next(self.peer)
        self.seconds[0] += paused - self.since
        self.since = time.perf_counter()
        self.seconds[1] += self.since - paused


def together(config: FitConfig, texts: list[Path]) -> tuple[Turns, np.ndarray, float]:
    """Run both, ours in a directory that is thrown away; return the run, our loss of each step and our last validation loss."""
    with tempfile.TemporaryDirectory() as folder:
        run = Turns(config, texts, Path(folder))
        run.execute()
        run.let_peer()  # its summary against ours
        records = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    validation = [record["validation_loss"] for record in records if "validation_loss" in record]
    return run, np.array([record["loss"] for record in records if "loss" in record]), validation[-1]


def theirs(config: FitConfig, texts: list[Path], losses: list[float]) -> Iterator[float]:
    """Train the peer from the same parameters on the same batches; append the loss of each step, yield after each evaluation its loss.

    It yields once more when it is ready to begin, and at the end, after the work of our summary.
    """
    import torch

    from benchmarks.peers import torch_gpt

    run = TextRun(config, read_corpus(texts, config), Path())
    peer = torch_gpt.from_ours(run.model)
    optimizer = torch_gpt.adamw(peer, config.lr, (config.beta_1, config.beta_2), config.weight_decay)
    yield math.nan
    yield _evaluate(peer, run)
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
            yield validation
    _evaluate(peer, run, whole=True)
    yardsticks(run.corpus)
    yield validation


def _evaluate(peer: TorchGPT, run: TextRun, whole: bool = False) -> float:
    import torch

    inputs, targets = run.validation if whole else run.probe
    size, total = EVALUATED_TOKENS // inputs.shape[1], 0.0
    for start in range(0, len(inputs), size):
        with torch.no_grad():
            logits, _ = peer(torch.from_numpy(inputs[start : start + size]))
        wanted = torch.from_numpy(targets[start : start + size]).reshape(-1)
        total += torch.nn.functional.cross_entropy(
            logits.reshape(len(wanted), -1), wanted, ignore_index=IGNORE, reduction="sum"
        ).item()
    return total / int((targets != IGNORE).sum())


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Run both, compare the curves, yield the wall times and the last validation losses."""
    _, missing = present({PEER: lambda: import_module("benchmarks.peers.torch_gpt")}, options.peers)
    texts = [Path(path) for path in os.environ.get("FIT_TEXTS", "").split(":") if path]
    config = dataclasses.replace(FitConfig(sample_length=0), steps=options.updates or FitConfig.steps)
    case = f"{config.steps} steps"
    if missing:
        yield from absent(case, missing)
        return
    found = [together(config, texts) for _ in repeat(options.seconds, MOST_ROUNDS)]
    run, losses, _ = found[0]
    apart = float(np.abs(losses - run.its_losses)[:CLOSE_STEPS].max())
    if not apart < CLOSE:
        raise SystemExit(f"the curves are {apart:.1e} apart in the first {CLOSE_STEPS} steps, allowed {CLOSE:.0e}")
    yield row(case, PEER, *zip(*(run.seconds for run, _, _ in found), strict=True), unit="s")
    yield row("validation loss, nats", PEER, [mine for _, _, mine in found], [run.its_validation_loss for run, _, _ in found], unit="")


def main(options: argparse.Namespace) -> None:
    """Print the comparison."""
    recycle_memory()
    show(options, "fit", "a whole run of minillm fit, wall time", rows(options))
