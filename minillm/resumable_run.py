"""Runs in numbered steps that can stop at any of them, and go on to the same bits.

A checkpoint holds all that the steps to come depend on, and how far the run's journals had come. It is written when it is due, at
Ctrl-C and at the end; it is never ahead of the journals.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minillm import checkpoint, machine
from minillm.config import GPTConfig
from minillm.errors import CheckpointError, NonFiniteError, require_integer, require_number
from minillm.interruption import Interruption
from minillm.journal import Journal, read_mark
from minillm.metrics import Board, write_csv
from minillm.optimizers import AdamW, require_finite
from minillm.progress import Progress
from minillm.threads import single_threaded_blas
from minillm.tokenizer import Tokenizer
from minillm.transformer import GPT

SHARE = 0.01  # of the time, at most, goes into saving: a checkpoint is due when the work since the last one took 100 times as long
Update = Callable[[], tuple[dict[str, Any], dict[str, Any]]]


class ResumableRun:
    """What runs of every kind have in common.

    A kind sets :attr:`model`, :attr:`tokenizer`, :attr:`optimizer` and :attr:`reference`, and has the methods :meth:`work`,
    :meth:`summarise`, :meth:`facts` and :meth:`restore`.

    Parameters
    ----------
    config : dataclass
        What the run depends on; it has ``on_nonfinite``.
    directory : Path
        Where :meth:`execute` writes; see :func:`minillm.checkpoint.prepare_directory`.
    quiet : bool
        No progress on stderr.
    """

    command = ""
    journals: tuple[str, ...] = ("metrics.jsonl",)
    model: GPT
    tokenizer: Tokenizer
    optimizer: AdamW
    reference: GPT | None = None
    board: Board | None = None

    def __init__(self, config: Any, directory: Path, quiet: bool) -> None:
        self.config, self.directory, self.quiet = config, directory, quiet
        self.step, self.skipped, self.elapsed = 0, 0, 0.0
        self.marks: dict[str, tuple[int, int]] = {}
        self.files: dict[str, Journal] = {}
        self._saved, self._cost, self._changed = 0.0, 0.0, True

    def settings(self) -> dict[str, Any]:
        """Return what ``config.json`` holds."""
        return dataclasses.asdict(self.config)

    def work(self) -> None:
        """Do all steps that are left, by :meth:`advance`."""
        raise NotImplementedError

    def label(self) -> dict[str, Any]:
        """Return how the last step is named in the metrics."""
        return {"step": self.step}

    def landmark(self, progress: Progress) -> None:
        """Do what is due after some of the steps, as an evaluation is."""
        raise NotImplementedError

    def summarise(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds, beside what is in every summary."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint holds, beside what is in every checkpoint."""
        raise NotImplementedError

    def restore(self, found: checkpoint.Checkpoint) -> None:
        """Take up what :meth:`facts` returned, after ``step`` steps; any error means that the checkpoint is not of such a run."""
        raise NotImplementedError

    def execute(self) -> dict[str, Any]:
        """Do what is left to do, and return the summary.

        Raises
        ------
        NonFiniteError
            If a loss, a gradient or a parameter stops being finite; the last good checkpoint stays.
        KeyboardInterrupt
            If interrupted; the step under way is then finished and saved.
        """
        with single_threaded_blas(), np.errstate(all="ignore"):  # what is not finite is found and named by the checks
            self._start = time.perf_counter() - self.elapsed
            try:
                self._work()
            except NonFiniteError as error:
                raise NonFiniteError(f"{error}; {self.directory} keeps its last good checkpoint") from None
            summary = self.summarise() | {"skipped": self.skipped, "machine": machine.facts()}
        write_csv(self.directory)
        checkpoint.write_json(self.directory / "summary.json", summary)
        return summary

    def _work(self) -> None:
        if not self.marks:
            checkpoint.write_json(self.directory / "config.json", self.settings())
        checkpoint.remove_unfinished(self.directory)
        with contextlib.ExitStack() as files:
            for name in self.journals:
                self.files[name] = files.enter_context(Journal(self.directory / name, self.marks.get(name, (0, 0))))
            if self.board is not None:
                files.enter_context(self.board.open(self.directory, self.step))
            self._ask = files.enter_context(Interruption())
            self.work()
            if self._changed:
                self.save()

    def advance(self, until: int, update: Update, progress: Progress) -> None:
        """Call ``update``, which is one step, until so many steps are done; what is not finite stops the run, or is skipped and counted.

        Parameters
        ----------
        until : int
        update : callable
            Returns what to write into the metrics, and what to show behind the bar.
        progress : Progress
        """
        while self.step < until:
            try:
                facts, shown = update()
            except NonFiniteError as error:
                if self.config.on_nonfinite != "skip" or not np.isfinite(self.model.parameters.vector).all():
                    raise
                self.skipped += 1
                facts, shown = {"skipped": self.skipped}, {"skipped": self.skipped}
                progress.say(f"skipped: {error}")
            self.step += 1
            self.measure(self.label() | facts)
            progress.update(**shown)
            self.landmark(progress)
            self.pause()

    def pause(self) -> None:
        """Save if it is time to, or if Ctrl-C was pressed, which then ends the run."""
        if self._ask.requested or (time.perf_counter() - self._saved) * SHARE >= self._cost:
            self.save()
        if self._ask.requested:
            raise KeyboardInterrupt(f" after step {self.step}; minillm {self.command} --resume {self.directory} goes on")

    def clock(self) -> float:
        """Return the seconds of work so far."""
        return time.perf_counter() - self._start

    def save(self) -> None:
        """Write a checkpoint, after the journals are on the disk."""
        self.elapsed, layout = self.clock(), self.model.parameters
        for what, vector in {"parameter": layout.vector, "mean": self.optimizer.m, "square": self.optimizer.v}.items():
            require_finite(f"the {what}", layout, vector, self.step)
        marks = {name: file.sync() for name, file in self.files.items()}
        checkpoint.save(
            self.directory / "checkpoint.npz", self.model, self.tokenizer, self.optimizer, self.reference, **self.facts(),
            run=self.settings(), step=self.step, skipped=self.skipped, elapsed=self.elapsed, marks=marks, machine=machine.facts(),
        )  # fmt: skip
        self._saved, self._changed = time.perf_counter(), False
        self._cost = self.clock() - self.elapsed

    def measure(self, facts: Mapping[str, Any]) -> None:
        """Add a line to the metrics."""
        self._changed = True
        self.files["metrics.jsonl"].writelines([json.dumps(facts) + "\n"])
        if self.board is not None:
            self.board.add(self.step, facts)

    def require_shape(self, found: checkpoint.Checkpoint, shape: GPTConfig) -> None:
        """Raise :class:`CheckpointError` if the model of a checkpoint is not as the configuration wants it."""
        if found.model.config != shape:
            raise CheckpointError(f"{self.directory / 'checkpoint.npz'} holds a model of another shape than config.json says")

    def take_up(self, found: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint, whose model and tokenizer are this run's already.

        Raises
        ------
        CheckpointError
            If it is not of this run.
        """
        facts = found.facts
        try:
            self.step, self.skipped = (require_integer(name, facts[name], 0) for name in ("step", "skipped"))
            self.elapsed = require_number("elapsed", facts["elapsed"])
            self.marks = {name: read_mark(facts["marks"][name]) for name in self.journals}
            self.restore(found)
            old = found.optimizer or self.optimizer
            self.optimizer.m[:], self.optimizer.v[:], self.optimizer.t = old.m, old.v, old.t
            self._changed = False
        except checkpoint.DAMAGE as error:
            path = self.directory / "checkpoint.npz"
            raise CheckpointError(f"{path} is not of a run of minillm {self.command} ({error!r:.120})") from None
        changed = machine.differences(facts.get("machine"))
        if changed:
            said = ", ".join(f"{name} is {value}" for name, value in changed.items())
            print(f"minillm: from here on the bits may be others than of a run that never stopped: {said}", file=sys.stderr)
