r"""A language model trained on text, in one run directory, resumable to the bit.

Every random choice of a run is drawn from a stream of its own, named by the seed, the purpose and the step. A checkpoint holds
parameters, moments and the number of steps; data order, dropout, schedule and samples follow from that number alone.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm import checkpoint
from minillm.continuation import continue_text
from minillm.corpus import SONNETS, Corpus, blocks, random_blocks, read_texts, yardsticks
from minillm.decoding import Sampling
from minillm.errors import CheckpointError, NonFiniteError, RunDirectoryError, UserError
from minillm.evaluation import mean_loss
from minillm.fit_config import FitConfig
from minillm.gradients import SHARDS, likelihood_gradient
from minillm.interruption import Interruption
from minillm.objectives import IGNORE
from minillm.optimizers import AdamW, require_finite, warmup_cosine
from minillm.progress import Progress
from minillm.resuming import Metrics, read_config, require_agreement
from minillm.threads import single_threaded_blas
from minillm.tokenizer import CharTokenizer
from minillm.training import descend
from minillm.transformer import GPT

INIT, DATA, DROPOUT, SAMPLE = range(4)  # the purposes of random numbers

FACTS = {"step": int, "best": float, "best_step": int, "seconds": float}  # what a checkpoint says of a run


class TextRun:
    """A run under way.

    Parameters
    ----------
    config : FitConfig
    corpus : Corpus
    directory : Path
        Where :meth:`execute` writes; see :func:`minillm.checkpoint.prepare_directory`.
    quiet : bool
        No progress on stderr.

    Raises
    ------
    UserError
        If the configuration is wrong, or the corpus too short for it.
    """

    def __init__(self, config: FitConfig, corpus: Corpus, directory: Path, quiet: bool = False) -> None:
        self.config, self.corpus, self.directory, self.quiet = config, corpus, directory, quiet
        for part, ids, least in (("training", corpus.train, config.n_positions + 1), ("validation", corpus.validation, 2)):
            if len(ids) < least:
                raise UserError(f"the {part} part of the text has {len(ids)} characters; at least {least} are needed")
        self.model = GPT(config.shape(corpus.tokenizer.vocab_size), rng=self._stream(INIT))
        self.optimizer = AdamW(
            self.model.parameters, config.lr, (config.beta_1, config.beta_2), weight_decay=config.weight_decay
        )
        self.step, self.best, self.best_step, self.seconds = 0, math.inf, 0, 0.0
        inputs, targets = blocks(corpus.validation, config.n_positions)
        n = min(len(inputs), config.eval_batches * config.batch_size)
        probe = np.linspace(0, len(inputs) - 1, n).round().astype(int)
        self.validation, self.probe = (inputs, targets), (inputs[probe], targets[probe])

    def resume(self) -> None:
        """Take up the state of the last checkpoint; without one, the run starts at its beginning.

        Raises
        ------
        CheckpointError
            If the checkpoint is damaged, or is not of this run.
        """
        path = self.directory / "checkpoint.npz"
        if not path.exists():
            return
        found = checkpoint.load(path)
        if found.model.config != self.model.config or found.tokenizer.state() != self.corpus.tokenizer.state():
            raise CheckpointError(f"{path} has another shape or alphabet than the run's config.json and corpus")
        if found.optimizer is None or not all(isinstance(found.facts.get(key), kind) for key, kind in FACTS.items()):
            raise CheckpointError(f"{path} is not of a run of minillm fit")
        self.model, self.optimizer = found.model, found.optimizer
        self.step, self.best, self.best_step, self.seconds = (found.facts[key] for key in FACTS)

    def facts(self, texts: Sequence[Path]) -> dict[str, Any]:
        """Return what ``config.json`` holds: the configuration, where the texts are, and their sum."""
        where = {"texts": [str(path.resolve()) for path in texts], "corpus": self.corpus.sha256}
        return dataclasses.asdict(self.config) | where

    def execute(self) -> dict[str, Any]:
        """Train to the last step and return the summary.

        Raises
        ------
        NonFiniteError
            If a loss or a gradient stops being finite; the last good checkpoint stays.
        KeyboardInterrupt
            If interrupted; the step under way is then finished and saved.
        """
        with single_threaded_blas(), np.errstate(all="ignore"):  # what is not finite is found and named by the checks
            with Metrics(self.directory / "metrics.jsonl", self.step or -1) as self.metrics:  # a run at its beginning has said nothing
                self._train()
            return self._summarise()

    def _train(self) -> None:
        c = self.config
        with Interruption() as ask, Progress("fit", c.steps - self.step, "step", self.quiet) as progress:
            self.clock = time.perf_counter() - self.seconds
            if self.step == 0:
                self._evaluate(progress)
            while self.step < c.steps:
                self._update(progress)
                if self.step % c.eval_every == 0 or self.step == c.steps:
                    self._evaluate(progress)
                if ask.requested:
                    self._save()
                    raise KeyboardInterrupt(
                        f" after step {self.step}; minillm fit --resume {self.directory} goes on, minillm sample {self.directory} writes"
                    )

    def _update(self, progress: Progress) -> None:
        c, start = self.config, time.perf_counter()
        rows = c.batch_size * c.gradient_accumulation_steps
        ids, targets = random_blocks(self.corpus.train, c.n_positions, rows, rng=self._stream(DATA, self.step))
        loss, gradient = likelihood_gradient(
            self.model, ids, targets, parts=SHARDS * c.gradient_accumulation_steps, rng=self._stream(DROPOUT, self.step)
        )
        if not math.isfinite(loss):
            raise NonFiniteError(f"the loss is {loss} in step {self.step}; {self.directory} keeps its last good checkpoint")
        lr = warmup_cosine(self.step, c.warmup_steps, c.steps, c.lr, c.min_lr)
        descend(self.model, self.optimizer, gradient, self.step, lr, c.max_norm)
        self.step += 1
        self._measure(loss=loss, lr=lr)
        progress.update(loss=loss, **{"tokens/s": round(ids.size / (time.perf_counter() - start))})

    def _evaluate(self, progress: Progress) -> None:
        """Measure the validation loss, write a sample, keep the best model, save."""
        c = self.config
        require_finite("the parameter", self.model.parameters, self.model.parameters.vector, self.step)
        loss = mean_loss(self.model, *self.probe)
        self._measure(validation_loss=loss, bits_per_character=loss / math.log(2), seconds=round(self._elapsed(), 3))
        progress.say(f"step {self.step}: validation loss {loss:.4f}, {loss / math.log(2):.4f} bits per character")
        if self.step and c.sample_length:
            text = continue_text(
                self.model, self.corpus.tokenizer, first_prompt(self.corpus.tokenizer.characters), c.sample_length, Sampling(),
                rng=self._stream(SAMPLE, self.step),
            )  # fmt: skip
            self._measure(sample=text)
            progress.say(text)
        if loss < self.best:
            self.best, self.best_step = loss, self.step
            checkpoint.save(self.directory / "best.npz", self.model, self.corpus.tokenizer, step=self.step, validation_loss=loss)
        self._save()

    def _summarise(self) -> dict[str, Any]:
        """Judge the best model by the whole validation part and write ``summary.json``."""
        c, best = self.config, checkpoint.load(self.directory / "best.npz").model
        loss = mean_loss(best, *self.validation)
        tokens = self.step * c.batch_size * c.gradient_accumulation_steps * c.n_positions
        summary = {
            "seed": c.seed,
            "parameters": self.model.parameters.vector.size,
            "steps": self.step,
            "tokens": tokens,
            "seconds": round(self.seconds, 3),
            "best_step": self.best_step,
            "validation_characters": int((self.validation[1] != IGNORE).sum()),
            "validation_loss": loss,
            "bits_per_character": yardsticks(self.corpus) | {"minillm": loss / math.log(2)},
            "numpy": np.__version__,
            "blas": np.show_config(mode="dicts")["Build Dependencies"]["blas"],
        }
        checkpoint.write_json(self.directory / "summary.json", summary)
        return summary

    def _stream(self, *where: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.config.seed, spawn_key=where))

    def _elapsed(self) -> float:
        return time.perf_counter() - self.clock

    def _measure(self, **facts: Any) -> None:
        self.metrics.write({"step": self.step} | facts)

    def _save(self) -> None:
        self.metrics.sync()  # a checkpoint is never ahead of the metrics
        self.seconds = self._elapsed()
        facts = dict(zip(FACTS, (self.step, self.best, self.best_step, self.seconds), strict=True))
        checkpoint.save(self.directory / "checkpoint.npz", self.model, self.corpus.tokenizer, self.optimizer, **facts)


def read_corpus(texts: Sequence[Path], config: FitConfig) -> Corpus:
    """Return the corpus of some files; of the sonnets that come along when there are none."""
    return Corpus.from_texts(read_texts(texts or [SONNETS]), config.validation)


def resume_text_run(directory: Path, texts: Sequence[Path], given: Mapping[str, Any]) -> TextRun:
    """Return a run as its last checkpoint has it.

    Parameters
    ----------
    directory : Path
    texts : sequence of Path
        Those of the run's ``config.json`` when empty.
    given : mapping
        What was asked for; it must agree with ``config.json``.

    Raises
    ------
    RunDirectoryError
        If there is no run, or a key or the corpus contradicts; the message names the key.
    """
    saved = read_config(directory)
    fields = [field.name for field in dataclasses.fields(FitConfig)]
    require_agreement(saved, given, directory)
    missing = [name for name in (*fields, "texts", "corpus") if name not in saved]
    if missing or not isinstance(saved["texts"], list) or not all(isinstance(path, str) for path in saved["texts"]):
        raise RunDirectoryError(f"{directory / 'config.json'} is not of a run of minillm fit: see {missing[0] if missing else 'texts'}")
    config = FitConfig(**{name: saved[name] for name in fields})
    corpus = read_corpus(texts or [Path(path) for path in saved["texts"]], config)
    require_agreement(saved, {"corpus": corpus.sha256}, directory)
    run = TextRun(config, corpus, directory)
    run.resume()
    return run


def load_text_model(directory: Path) -> tuple[GPT, CharTokenizer]:
    """Return the best model of a run, and its tokenizer.

    Raises
    ------
    RunDirectoryError, CheckpointError
        If there is no run, or its checkpoint is damaged.
    """
    if not directory.is_dir():
        raise RunDirectoryError(f"there is no run directory {directory}")
    found = checkpoint.load(directory / "best.npz")
    if not isinstance(found.tokenizer, CharTokenizer):
        raise CheckpointError(f"{directory / 'best.npz'} is not of a run of minillm fit: its tokenizer is not one of characters")
    return found.model, found.tokenizer


def first_prompt(characters: tuple[str, ...]) -> str:
    """Return what a text goes on from when nothing is asked for: the start of a line, or of the text where there are no lines."""
    return "\n" if "\n" in characters else ""
