"""The log-probabilities of 64 sequences of 32 tokens, without a gradient."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.report import show
from benchmarks.rounds import Row, Side, absent, compare, present
from benchmarks.shapes import SHAPES, chosen
from minillm import GPT
from minillm.evaluation import token_losses
from minillm.threads import recycle_memory, single_threaded_blas

B, T, CLOSE = 64, 32, 1e-5
AIMS = {"micro": 1.1, "tiny": 1.0, "small": 1.0}  # against torch eager
Score = Callable[[], np.ndarray]


def peers(model: GPT, ids: np.ndarray, targets: np.ndarray) -> dict[str, Callable[[], Score]]:
    """Return what makes each peer's function of no arguments."""

    def torch_score() -> Score:
        import torch

        from benchmarks.peers import torch_gpt

        peer, x, y = torch_gpt.from_ours(model), torch.from_numpy(ids), torch.from_numpy(targets)

        @torch.no_grad()
        def score() -> np.ndarray:
            return torch_gpt.log_probs(peer(x)[0], y).sum(dim=1).numpy()

        return score

    def jax_score() -> Score:
        import jax

        from benchmarks.peers import jax_gpt

        theta = jax_gpt.from_ours(model)
        run = jax.jit(lambda theta, x, y: jax_gpt.log_probs(theta, x, y, model.config).sum(axis=1))
        return lambda: np.asarray(run(theta, ids, targets))

    return {"torch eager": torch_score, "JAX jit": jax_score}


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the lines shape by shape."""
    for name in chosen(options.shapes, AIMS):
        shape = SHAPES[name]
        model, ids = shape.model(max(shape.T, T)), shape.tokens(B, T)
        targets = np.roll(ids, -1, axis=1)

        def ours(model: GPT = model, ids: np.ndarray = ids, targets: np.ndarray = targets) -> np.ndarray:
            with single_threaded_blas():  # as `minillm fit` evaluates: parts of the batch side by side
                return -token_losses(model, ids, targets).sum(axis=1)

        there, missing = present(peers(model, ids, targets), options.peers)
        for peer, score in there.items():
            np.testing.assert_allclose(ours(), score(), rtol=CLOSE, err_msg=peer)
        aims = {"torch eager": AIMS[name]} if name in AIMS else {}
        yield from compare(name, Side(ours), {peer: Side(score) for peer, score in there.items()}, aims, options.seconds)
        yield from absent(name, missing)


def main(options: argparse.Namespace) -> None:
    """Print the comparison at each shape."""
    recycle_memory()
    show(options, "logprobs", f"log-probabilities of sequences, B = {B}, T = {T}, medians of alternating rounds", rows(options))
