"""The agent of `minillm train` with its model, sampler, likelihood fit and REINFORCE update in PyTorch.

The method is the same: a state is read once an update, a batch drops rows that have ended once they are half of it, and equal decisions
are differentiated once, packed behind their state.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.peers import torch_gpt
from benchmarks.peers.packed_states import pack_states
from minillm import GPT
from minillm.agent import Choice
from minillm.experience import Experience
from minillm.objectives import IGNORE
from minillm.optimizers import warmup_cosine
from minillm.packing import Decisions
from minillm.tokenizer import CharTokenizer
from minillm.train_config import TrainConfig
from minillm.training import coefficients
from minillm.transcripts import transcript_ids


class TorchAgent:
    """The four steps' model, from our initial parameters."""

    def __init__(self, model: GPT, tokenizer: CharTokenizer, config: TrainConfig, max_new_tokens: int, rng: np.random.Generator) -> None:
        self.model, self.tokenizer, self.config, self.max_new_tokens, self.rng = model, tokenizer, config, max_new_tokens, rng
        self.peer = torch_gpt.from_ours(model)
        self.optimizer = torch_gpt.adamw(self.peer, config.improve_lr, (0.9, 0.99), 0.0)

    def policy(self) -> Policy:
        """Return a policy with an empty memory of states."""
        return Policy(self)

    def fit(self, experience: Experience, rng: np.random.Generator) -> None:
        """Maximise the likelihood of transcripts."""
        c = self.config
        ids, lengths = transcript_ids(self.tokenizer, experience)
        targets = np.where(np.arange(1, ids.shape[1]) < lengths[:, None], ids[:, 1:], IGNORE)
        optimizer = torch_gpt.adamw(self.peer, c.fit_lr)
        for step in range(c.fit_steps):
            rows = rng.integers(len(ids), size=c.fit_batch_size)
            width = int(lengths[rows].max()) - 1
            optimizer.zero_grad(set_to_none=True)
            loss = self.likelihood(ids[rows, :width], targets[rows, :width])
            loss.backward()
            _descend(self.peer, optimizer, warmup_cosine(step, c.fit_steps // 10, c.fit_steps, c.fit_lr, c.fit_lr / 10))

    def likelihood(self, ids: np.ndarray, targets: np.ndarray) -> torch.Tensor:
        """Return the mean negative log-likelihood of targets that count."""
        logits, _ = self.peer(torch.from_numpy(ids))
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), torch.from_numpy(targets).reshape(-1), ignore_index=IGNORE)

    def improve(self, experience: Experience, lr: float) -> None:
        """Take a step along the estimate of ∇J."""
        self.backward(experience)
        _descend(self.peer, self.optimizer, lr)

    def backward(self, experience: Experience) -> None:
        """Leave the gradient of −Σ c log p in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        decisions = Decisions(experience.states, experience.action_ids)
        c = decisions.add(np.broadcast_to(coefficients(experience)[:, None], experience.action_ids.shape))
        for piece in pack_states(decisions, self.tokenizer, (c != 0).any(axis=1)):
            ids, positions, visible, at = (torch.from_numpy(x) for x in (piece.ids, piece.positions, piece.visible, piece.at))
            logits, _ = self.peer(ids, positions=positions, visible=visible, at=at)
            log_p = -F.cross_entropy(logits.transpose(1, 2), torch.from_numpy(piece.targets), reduction="none", ignore_index=IGNORE)
            (-(torch.from_numpy(piece.spread(c).astype(np.float32)) * log_p).sum()).backward()

    def ours(self) -> GPT:
        """Return our model with the parameters as they are now, for exact J."""
        parameters = self.model.parameters.like()
        for name, parameter in self.peer.named_parameters():
            parameters[name][...] = torch_gpt.turned(name, parameter.detach().numpy())
        return GPT.from_vector(self.model.config, parameters.vector)


def _descend(peer: torch_gpt.TorchGPT, optimizer: torch.optim.Optimizer, lr: float) -> None:
    torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0, error_if_nonfinite=True)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()


class Memory:
    """Keys and values (layers, 2, N, H, T, D) of N prompts, which of the T places count (N, T), and the logits (N, V) that follow."""

    def __init__(self, past: torch.Tensor, counts: torch.Tensor, logits: torch.Tensor) -> None:
        self.past, self.counts, self.logits = past, counts, logits

    def joined(self, other: Memory) -> Memory:
        """Return both, one after the other, with room for the longer."""
        room = max(self.counts.shape[1], other.counts.shape[1])
        wide = [(F.pad(m.past, (0, 0, 0, room - m.counts.shape[1])), F.pad(m.counts, (0, room - m.counts.shape[1]))) for m in (self, other)]
        past, counts = (torch.cat(parts, dim=dim) for parts, dim in zip(zip(*wide, strict=True), (2, 0), strict=True))
        return Memory(past, counts, torch.cat([self.logits, other.logits]))


class Policy:
    """Acts for many states at once; what was read is remembered."""

    def __init__(self, agent: TorchAgent) -> None:
        self.agent = agent
        self.rows: dict[str, int] = {}
        self.memory: Memory | None = None

    @torch.no_grad()
    def __call__(self, states: np.ndarray) -> Choice:
        """Write an action for each state."""
        new = [state for state in np.unique(states).tolist() if state not in self.rows]
        if new:
            self.rows.update(zip(new, range(len(self.rows), len(self.rows) + len(new)), strict=True))
            read = self._read(np.array(new))
            self.memory = read if self.memory is None else self.memory.joined(read)
        ids, log_probs = self._write(torch.tensor([self.rows[state] for state in states.tolist()]))
        tokenizer = self.agent.tokenizer
        unique, inverse = np.unique(ids, axis=0, return_inverse=True)
        texts = [tokenizer.decode(row[row != IGNORE], skip_special_tokens=True) for row in unique]
        return Choice(np.array(texts, dtype=np.str_)[inverse.reshape(-1)], ids, log_probs)

    def _read(self, states: np.ndarray) -> Memory:
        ids, lengths = self.agent.tokenizer.encode_batch(states)
        ended = torch.from_numpy(np.pad(ids, ((0, 0), (0, 1)), constant_values=self.agent.tokenizer.eos_token_id)).long()
        at = torch.from_numpy(lengths)[:, None]
        logits, past = self.agent.peer(ended, at=at)
        return Memory(torch.stack([torch.stack(pair) for pair in past]), torch.arange(ended.shape[1]) <= at, logits[:, 0])

    def _write(self, index: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return sampled ids (N, L), padded with −100, and the log-probability of each."""
        assert self.memory is not None
        agent, eos, N = self.agent, self.agent.tokenizer.eos_token_id, len(index)
        past, counts, logits = self.memory.past[:, :, index], self.memory.counts[index], self.memory.logits[index]
        start = counts.sum(dim=1)
        ids, log_probs = np.full((N, agent.max_new_tokens), IGNORE), np.zeros((N, agent.max_new_tokens))
        rows, running = np.arange(N), np.ones(N, dtype=bool)
        for step in range(agent.max_new_tokens):
            log_p = logits.log_softmax(dim=-1)
            tokens = _draw(log_p, torch.from_numpy(agent.rng.random(len(rows))))
            drawn = tokens.numpy()
            ids[rows[running], step] = drawn[running]
            log_probs[rows[running], step] = log_p.gather(1, tokens[:, None])[:, 0].numpy()[running]
            running &= drawn != eos
            if step + 1 == agent.max_new_tokens or not running.any():
                break
            if 2 * running.sum() <= len(rows):
                left = torch.from_numpy(running)
                past, counts, start, tokens = past[:, :, left], counts[left], start[left], tokens[left]
                rows, running = rows[running], running[running]
            counts = F.pad(counts, (0, 1), value=True)
            logits, pairs = agent.peer(
                tokens[:, None], list(past), positions=(start + step)[:, None], visible=counts[:, None, None], last=True
            )
            past, logits = torch.stack([torch.stack(pair) for pair in pairs]), logits[:, 0]
        L = step + 1
        return ids[:, :L], log_probs[:, :L]


def _draw(log_p: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    cumulative = log_p.double().exp().cumsum(dim=-1)
    return (cumulative <= u[:, None] * cumulative[:, -1:]).sum(dim=-1).clamp(max=log_p.shape[-1] - 1)
