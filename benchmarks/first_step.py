"""A fresh process that imports one side and takes training steps: `python -m benchmarks.first_step SIDE SHAPE import|memory`.

It imports only what its side needs. ``import``: one step, and the end; the caller looks at the clock. ``memory``: a step of one sequence,
then two of the whole batch, and one more that tracemalloc watches; prints a JSON object of MB.
"""

import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.shapes import SHAPES, Shape

Step = Callable[[np.ndarray], object]


def ours(shape: Shape) -> Step:
    """Return our step on ids (B, T)."""
    from minillm.gradients import likelihood_gradient
    from minillm.optimizers import AdamW
    from minillm.threads import recycle_memory, single_threaded_blas

    recycle_memory()
    model = shape.model()
    optimizer = AdamW(model.parameters, 1e-5)

    def step(ids: np.ndarray) -> None:
        with single_threaded_blas():
            optimizer.step(likelihood_gradient(model, ids, np.roll(ids, -1, axis=1))[1])

    return step


def torch(shape: Shape) -> Step:
    """Return the step of PyTorch eager."""
    import torch

    from benchmarks.peers import torch_gpt

    peer = torch_gpt.TorchGPT(SimpleNamespace(
        vocab_size=shape.V, n_positions=shape.T, n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads, inner=4 * shape.width,
        layer_norm_epsilon=1e-5,
    ))  # fmt: skip
    optimizer = torch_gpt.adamw(peer, 1e-5)

    def step(ids: np.ndarray) -> None:
        x, y = torch.from_numpy(ids), torch.from_numpy(np.roll(ids, -1, axis=1))
        optimizer.zero_grad(set_to_none=True)
        torch_gpt.cross_entropy(peer(x)[0], y).backward()
        optimizer.step()

    return step


def status(field: str) -> float:
    """Return VmRSS (now) or VmHWM (its peak) of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def memory(step: Step, ids: np.ndarray) -> dict[str, float]:
    """Return MB before the steps, of the process at its peak, and of arrays that a step allocates at its peak."""
    step(ids[:1])  # code and libraries come into memory
    before = status("VmRSS")
    step(ids), step(ids)
    peak = status("VmHWM")
    tracemalloc.start()
    step(ids)
    return {"before": before, "peak": peak, "step": peak - before, "traced": tracemalloc.get_traced_memory()[1] / 2**20}


if __name__ == "__main__":
    side, name, what = sys.argv[1:]
    made, tokens = {"ours": ours, "torch": torch}[side](SHAPES[name]), SHAPES[name].tokens()
    if what == "import":
        made(tokens)
    else:
        print(json.dumps(memory(made, tokens)))
