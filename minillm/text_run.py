r"""A language model trained on text, in one run directory, resumable to the bit.

Every random choice of a run is drawn from a stream of its own, named by the seed, the purpose and the step. A checkpoint holds
parameters, moments and the number of steps; data order, dropout, schedule and samples follow from that number alone.
"""

from __future__ import annotations

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
from minillm.errors import CheckpointError, RunDirectoryError, UserError, require_integer
from minillm.evaluation import mean_loss
from minillm.fit_config import FitConfig
from minillm.gradients import SHARDS
from minillm.objectives import IGNORE
from minillm.optimizers import AdamW, require_finite, warmup_cosine
from minillm.progress import Progress
from minillm.resumable_run import ResumableRun
from minillm.resuming import found_run, pick, require_agreement
from minillm.tokenizer import CharTokenizer
from minillm.training import fit_step
from minillm.transformer import GPT

INIT, DATA, DROPOUT, SAMPLE = range(4)  # the purposes of random numbers

class TextRun(ResumableRun):
    """A run under way.

    Parameters
    ----------
    config : FitConfig
    corpus : Corpus
    directory : Path
    quiet : bool
    texts : sequence of Path
        Where the corpus is from, as it is to be found again.
    found : Checkpoint, optional
        Of this run, which is to go on from there.

    Raises
    ------
    UserError
        If the configuration is wrong, or the corpus too short for it.
    """

    command = "fit"

    def __init__(
        self, config: FitConfig, corpus: Corpus, directory: Path, quiet: bool = False, texts: Sequence[Path] = (),
        found: checkpoint.Checkpoint | None = None,
    ) -> None:  # fmt: skip
        super().__init__(config, directory, quiet)
        self.corpus, self.texts, self.tokenizer = corpus, texts, corpus.tokenizer
        for part, ids, least in (("training", corpus.train, config.n_positions + 1), ("validation", corpus.validation, 2)):
            if len(ids) < least:
                raise UserError(f"the {part} part of the text has {len(ids)} characters; at least {least} are needed")
        shape = config.shape(corpus.tokenizer.vocab_size)
        if found is not None:
            self.require_shape(found, shape)
        self.model = GPT(shape, rng=self._stream(INIT)) if found is None else found.model
        self.optimizer = AdamW(
            self.model.parameters, config.lr, (config.beta_1, config.beta_2), weight_decay=config.weight_decay
        )
        self.best, self.best_step = math.inf, 0
        inputs, targets = blocks(corpus.validation, config.n_positions)
        n = min(len(inputs), config.eval_batches * config.batch_size)
        probe = np.linspace(0, len(inputs) - 1, n).round().astype(int)
        self.validation, self.probe = (inputs, targets), (inputs[probe], targets[probe])
        if found is not None:
            self.take_up(found)

    def settings(self) -> dict[str, Any]:
        """Return what ``config.json`` holds: the configuration, where the texts are, and their sum."""
        where = {"texts": [str(path) for path in self.texts], "corpus": self.corpus.sha256}
        return super().settings() | where

    def facts(self) -> dict[str, Any]:
        """Return the best validation loss so far, and after which step it was."""
        return {"best": self.best, "best_step": self.best_step}

    def restore(self, found: checkpoint.Checkpoint) -> None:
        """Take up :meth:`facts`."""
        self.best, self.best_step = float(found.facts["best"]), require_integer("best_step", found.facts["best_step"], 0)
        if self.step > self.config.steps or found.tokenizer.state() != self.tokenizer.state():
            raise ValueError(f"{self.step} of {self.config.steps} steps")

    def work(self) -> None:
        """Train to the last step."""
        c = self.config
        with Progress("fit", c.steps - self.step, "step", self.quiet) as progress:
            if not self.files["metrics.jsonl"].size:  # a run at its beginning has said nothing
                self._evaluate(progress)
            self.advance(c.steps, self._update, progress)

    def _update(self) -> tuple[dict[str, Any], dict[str, Any]]:
        c, start = self.config, time.perf_counter()
        rows = c.batch_size * c.gradient_accumulation_steps
        ids, targets = random_blocks(self.corpus.train, c.n_positions, rows, rng=self._stream(DATA, self.step))
        lr = warmup_cosine(self.step, c.warmup_steps, c.steps, c.lr, c.min_lr)
        loss = fit_step(
            self.model, self.optimizer, ids, targets, self.step, lr, c.max_norm, parts=SHARDS * c.gradient_accumulation_steps,
            rng=self._stream(DROPOUT, self.step),
        )  # fmt: skip
        return {"loss": loss, "lr": lr}, {"loss": loss, "tokens/s": round(ids.size / (time.perf_counter() - start))}

    def landmark(self, progress: Progress) -> None:
        """Evaluate, every so many steps."""
        if self.step % self.config.eval_every == 0 or self.step == self.config.steps:
            self._evaluate(progress)

    def _evaluate(self, progress: Progress) -> None:
        """Measure the validation loss, write a sample, keep the best model, save."""
        c = self.config
        require_finite("the parameter", self.model.parameters, self.model.parameters.vector, self.step)
        loss = mean_loss(self.model, *self.probe)
        self.measure(self.label() | {"validation_loss": loss, "bits_per_character": loss / math.log(2), "seconds": round(self.clock(), 3)})
        progress.say(f"step {self.step}: validation loss {loss:.4f}, {loss / math.log(2):.4f} bits per character")
        if self.step and c.sample_length:
            text = continue_text(
                self.model, self.corpus.tokenizer, first_prompt(self.corpus.tokenizer.characters), c.sample_length, Sampling(),
                rng=self._stream(SAMPLE, self.step),
            )  # fmt: skip
            self.measure(self.label() | {"sample": text})
            progress.say(text)
        if loss < self.best:
            self.best, self.best_step = loss, self.step
            checkpoint.save(self.directory / "best.npz", self.model, self.tokenizer, step=self.step, validation_loss=loss)
        self.save()

    def summarise(self) -> dict[str, Any]:
        """Judge the best model by the whole validation part."""
        c, best = self.config, checkpoint.load(self.directory / "best.npz").model
        loss = mean_loss(best, *self.validation)
        return {
            "seed": c.seed,
            "parameters": self.model.parameters.vector.size,
            "steps": self.step,
            "tokens": self.step * c.batch_size * c.gradient_accumulation_steps * c.n_positions,
            "seconds": round(self.elapsed, 3),
            "best_step": self.best_step,
            "validation_characters": int((self.validation[1] != IGNORE).sum()),
            "validation_loss": loss,
            "bits_per_character": yardsticks(self.corpus) | {"minillm": loss / math.log(2)},
        }

    def _stream(self, *where: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.config.seed, spawn_key=where))


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
    saved, found = found_run(directory, given)
    config, where = pick(FitConfig, saved, directory), saved.get("texts")
    if not isinstance(where, list) or not all(isinstance(path, str) for path in where):
        raise RunDirectoryError(f"{directory / 'config.json'} is not of a run of minillm fit: see texts")
    paths = [Path(path) for path in where]
    special = [path for path in paths if path.exists() and not path.is_file()]  # a device, say, that has no end
    if special:
        raise RunDirectoryError(f"{directory / 'config.json'} names {special[0]}, which is no file, as a text")
    corpus = read_corpus(texts or paths, config)
    require_agreement(saved, {"corpus": corpus.sha256}, directory)
    return TextRun(config, corpus, directory, texts=paths, found=found)


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
