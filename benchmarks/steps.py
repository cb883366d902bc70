"""A step of training (forward, loss, backward, AdamW) on our side and on each peer's, from the same parameters and batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from benchmarks.rounds import Row, Side, absent, compare, present
from minillm import GPT
from minillm.gradients import likelihood_gradient, weighted_gradient
from minillm.optimizers import AdamW
from minillm.threads import single_threaded_blas

CLOSE = 1e-5  # float32: losses, and gradients against their largest entry


@dataclasses.dataclass(frozen=True)
class Task:
    r"""The batch of a step, (B, T), and its loss: $-\sum w\log p$ of the targets, or the mean of $-\log p$ without weights."""

    ids: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    lr: float = 1e-5

    @property
    def scale(self) -> float:
        """Size of the terms that the loss adds up: what a rounding error is small against."""
        return 1.0 if self.weights is None else float(np.abs(self.weights).sum())


class Step(Protocol):
    """What both sides have."""

    def gradient(self) -> tuple[float, np.ndarray]: ...
    def step(self) -> float: ...


class Ours:
    """The step by minillm, as `minillm fit` and `minillm train` take it."""

    def __init__(self, model: GPT, task: Task) -> None:
        self.model, self.task = model, task
        self.optimizer = AdamW(model.parameters, task.lr)

    def gradient(self) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient."""
        ids, targets, weights = self.task.ids, self.task.targets, self.task.weights
        with single_threaded_blas():
            if weights is None:
                return likelihood_gradient(self.model, ids, targets)
            return weighted_gradient(self.model, ids, targets, -weights)

    def step(self) -> float:
        """Take a step; return the loss before it."""
        loss, gradient = self.gradient()
        self.optimizer.step(gradient)
        return loss


def peers(model: GPT, task: Task) -> dict[str, Callable[[], Step]]:
    """Return what makes each peer's step."""

    def torch_step(compiled: bool = False) -> Step:
        from benchmarks.peers import torch_gpt

        return torch_gpt.Step(model, task, compiled)

    def jax_step() -> Step:
        from benchmarks.peers import jax_gpt

        return jax_gpt.Step(model, task)

    return {"torch eager": torch_step, "torch.compile": lambda: torch_step(True), "JAX jit": jax_step}


def require_equal(ours: Step, theirs: Step, peer: str, scale: float) -> None:
    """Stop unless loss and gradient agree."""
    (loss, gradient), (other, its) = ours.gradient(), theirs.gradient()
    apart = float(np.abs(gradient - its).max() / np.abs(its).max())
    if not (abs(loss - other) <= CLOSE * max(abs(other), scale) and apart <= CLOSE):
        raise SystemExit(f"{peer} computes something else: losses {loss} and {other}, gradients {apart:.1e} apart")


def compare_steps(
    case: str, model: Callable[[], GPT], task: Task, aims: dict[str, float], seconds: float, wanted: Sequence[str]
) -> list[Row]:
    """Assert that all sides compute the same, then alternate them in rounds."""
    ours = Ours(model(), task)
    there, missing = present(peers(model(), task), wanted)
    for name, step in there.items():
        require_equal(ours, step, name, task.scale)
    sides = {name: Side(step.step) for name, step in there.items()}
    return compare(case, Side(ours.step), sides, aims, seconds) + absent(case, missing)
