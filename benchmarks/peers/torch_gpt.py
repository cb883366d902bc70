"""The same GPT written the usual way in PyTorch (modules, scaled_dot_product_attention), over our parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:  # a fresh process of the peer imports nothing of ours
    from benchmarks.steps import Task
    from minillm import GPT, GPTConfig
    from minillm.parameters import Parameters


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and added to the stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        C = config.n_embd
        self.heads = config.n_head
        self.ln_1, self.ln_2 = (nn.LayerNorm(C, eps=config.layer_norm_epsilon) for _ in range(2))
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(C, 3 * C), "c_proj": nn.Linear(C, C)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(C, config.inner), "c_proj": nn.Linear(config.inner, C)})

    def forward(
        self, h: torch.Tensor, past: tuple | None = None, visible: torch.Tensor | None = None, at: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, tuple]:
        """Return the stream, at the columns ``at`` alone if given, and the keys and values so far."""
        B, T, C = h.shape
        q, k, v = (x.view(B, T, self.heads, -1).transpose(1, 2) for x in self.attn["c_attn"](self.ln_1(h)).split(C, dim=2))
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        if at is not None:
            visible = torch.ones(T, T, dtype=torch.bool).tril()[None, None] if visible is None else visible
            visible = visible.expand(B, -1, -1, -1).take_along_dim(at[:, None, :, None], dim=2)
            q, h = q.take_along_dim(at[:, None, :, None], dim=2), h.take_along_dim(at[:, :, None], dim=1)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, is_causal=past is None and visible is None)
        h = h + self.attn["c_proj"](o.transpose(1, 2).reshape(h.shape))
        return h + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(h)), approximate="tanh")), (k, v)


class TorchGPT(nn.Module):
    """GPT-2's architecture with a tied head."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(config.vocab_size, config.n_embd), nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(
        self, ids: torch.Tensor, past: list | None = None, last: bool = False, positions: torch.Tensor | None = None,
        visible: torch.Tensor | None = None, at: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, list]:  # fmt: skip
        """Return logits (of the last position or of the columns ``at`` only, if asked) and the cache."""
        start = 0 if past is None else past[0][0].shape[2]
        places = self.wpe.weight[start : start + ids.shape[1]] if positions is None else self.wpe(positions)
        h = self.wte(ids) + places
        kept = []
        for layer, block in enumerate(self.h):
            h, pair = block(h, None if past is None else past[layer], visible, at if layer + 1 == len(self.h) else None)
            kept.append(pair)
        return F.linear(self.ln_f(h[:, -1:] if last else h), self.wte.weight), kept


def from_ours(model: GPT) -> TorchGPT:
    """Return a TorchGPT with copies of our parameters; its linear maps are stored (out, in)."""
    peer = TorchGPT(model.config)
    with torch.no_grad():
        for name, parameter in peer.named_parameters():
            parameter.copy_(torch.from_numpy(turned(name, model.parameters[name]).copy()))
    return peer


def flat_gradient(peer: TorchGPT, layout: Parameters) -> np.ndarray:
    """Return the gradient of the peer as a vector in our layout."""
    gradient = layout.like()
    for name, parameter in peer.named_parameters():
        gradient[name][...] = turned(name, parameter.grad.numpy())
    return gradient.vector


def turned(name: str, array: np.ndarray) -> np.ndarray:
    """Return a linear map's weight in the other side's layout, all else as it is."""
    return array.T if ".c_" in name and array.ndim == 2 else array


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log-likelihood of targets (B, T)."""
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def log_probs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the targets' log-probabilities (B, T)."""
    return -F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


def adamw(peer: TorchGPT, lr: float, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.01) -> torch.optim.Optimizer:
    """AdamW in its fastest form, with decay on matrices only."""
    groups = [
        {"params": [p for p in peer.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in peer.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr, betas, fused=True)


class Step:
    """A training step from our parameters: forward, loss, backward, AdamW."""

    def __init__(self, model: GPT, task: Task, compiled: bool = False) -> None:
        self.peer, self.layout = from_ours(model), model.parameters
        self.run = torch.compile(self.peer) if compiled else self.peer
        self.ids, self.targets = (torch.from_numpy(x) for x in (task.ids, task.targets))
        self.weights = None if task.weights is None else torch.from_numpy(task.weights)
        self.optimizer = adamw(self.peer, task.lr)

    def gradient(self) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient in our layout."""
        loss = self._backward()
        return loss, flat_gradient(self.peer, self.layout)

    def step(self) -> float:
        """Take a step; return the loss before it."""
        loss = self._backward()
        self.optimizer.step()
        return loss

    def _backward(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        logits, _ = self.run(self.ids)
        if self.weights is None:
            loss = cross_entropy(logits, self.targets)
        else:
            loss = -(self.weights * log_probs(logits, self.targets)).sum()
        loss.backward()
        return loss.item()


@torch.no_grad()
def generate(peer: TorchGPT, ids: torch.Tensor, n: int) -> torch.Tensor:
    """Continue ids (B, T) by n most probable tokens each, with a key/value cache."""
    out = [ids]
    past = None
    for _ in range(n):
        logits, past = peer(out[-1], past, last=True)
        out.append(logits[:, -1].argmax(dim=-1, keepdim=True))
    return torch.cat(out, dim=1)
