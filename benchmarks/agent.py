"""The main job, `minillm train` with its defaults, until exact J is 0.98·J*, against the same loop in PyTorch.

Both sides share environments, tokenizer, experience, coefficients and exact J; model, sampler, likelihood fit and REINFORCE update
are each side's own. Exact J is computed after every update, with the clock stopped. ``--updates N`` stops after N updates.

Both read a state once for all that is done in it and differentiate equal decisions once. Where the two differ, each does what suits it:
we play in two halves of the episodes, each of which reads what it meets, and differentiate trees of prefixes (what states and actions
begin with in common is computed once, :mod:`minillm.prefix_trees`); the peer plays all episodes in one batch, and what it differentiates
is a row for each state with its actions side by side.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

import envs
from benchmarks.report import show
from benchmarks.rounds import Row, absent, present, repeat, row
from benchmarks.steps import CLOSE
from minillm import GPT
from minillm.experience import Experience, concatenate
from minillm.gradients import SHARDS, likelihood_gradient
from minillm.imitation import best_steps
from minillm.optimizers import AdamW, warmup_cosine
from minillm.run import exact_value, make_agent
from minillm.scoring import policy_gradient
from minillm.start import start
from minillm.threads import parallel_map, recycle_memory, single_threaded_blas
from minillm.train_config import TrainConfig
from minillm.training import Policy, coefficients, collect, fit, improve, uniform_policy

Made = TypeVar("Made")
SHARE, AIM, TORCH = 0.98, 2.0, "torch"
MOST_SEEDS = 5  # as many as fit into --seconds, at least one


class World:
    """The default job of a seed before its first step: what both sides share."""

    def __init__(self, seed: int) -> None:
        self.mdp = envs.exact(TrainConfig.env)
        self.rng = np.random.default_rng(seed)
        self.config, self.tokenizer, self.model = start(TrainConfig(seed=seed), self.mdp, self.rng)

    def play(self, policies: Sequence[Policy], episodes: int) -> Experience:
        """Play in as many parts as there are policies, side by side."""
        counts = [len(part) for part in np.array_split(np.arange(episodes), len(policies))]
        seeds = self.rng.integers(1 << 62, size=len(counts)).tolist()

        def part(k: int) -> Experience:
            return collect(envs.VectorEnv(self.mdp, counts[k], seed=seeds[k], autoreset="disabled"), policies[k])

        return concatenate(parallel_map(part, range(len(counts))))

    def collect(self) -> Experience:
        """Play with the uniform policy."""
        uniform = [uniform_policy(self.tokenizer, self.mdp.action_texts, rng) for rng in self.rng.spawn(SHARDS)]
        return best_steps(self.play(uniform, self.config.collect_episodes), self.config.fit_best, self.config.fit_by)


class Ours:
    """minillm's part of the loop, on two halves of the episodes side by side, as `minillm train` does it."""

    def __init__(self, world: World) -> None:
        self.world, c = world, world.config
        self.agents = [make_agent(world.model, world.tokenizer, world.mdp, rng) for rng in world.rng.spawn(SHARDS)]
        self.optimizer = AdamW(world.model.parameters, c.improve_lr, betas=(0.9, 0.99), weight_decay=0.0)

    def fit(self, experience: Experience) -> None:
        """Fit to the collected experience."""
        w, c = self.world, self.world.config
        fit(w.model, w.tokenizer, experience, steps=c.fit_steps, batch_size=c.fit_batch_size, lr=c.fit_lr, rng=w.rng)

    def act(self) -> Experience:
        """Play the episodes of an update."""
        return self.world.play([agent.remembering_act() for agent in self.agents], self.world.config.improve_episodes)

    def improve(self, experience: Experience, step: int, lr: float) -> None:
        """Take the update."""
        improve(self.world.model, self.world.tokenizer, experience, self.optimizer, step=step, lr=lr)

    def model(self) -> GPT:
        """Return the model as it is."""
        return self.world.model


class Torch:
    """The peer's part; its threads work inside its operations, on all episodes at once."""

    def __init__(self, world: World) -> None:
        from benchmarks.peers.torch_agent import TorchAgent

        longest = make_agent(world.model, world.tokenizer, world.mdp, 0).max_new_tokens
        self.world = world
        self.agent = TorchAgent(world.model, world.tokenizer, world.config, longest, world.rng.spawn(1)[0])

    def fit(self, experience: Experience) -> None:
        """Fit to the collected experience."""
        self.agent.fit(experience, self.world.rng)

    def act(self) -> Experience:
        """Play the episodes of an update."""
        return self.world.play([self.agent.policy()], self.world.config.improve_episodes)

    def improve(self, experience: Experience, step: int, lr: float) -> None:
        """Take the update."""
        self.agent.improve(experience, lr)

    def model(self) -> GPT:
        """Return the parameters as our model."""
        return self.agent.ours()


def job(side: Ours | Torch, updates: int | None) -> dict[str, float]:
    """Run until exact J is near the optimum, or for so many updates; return the seconds of each phase and the number of updates."""
    seconds = dict.fromkeys(("collect", "fit", "act", "improve"), 0.0)
    world, c, step = side.world, side.world.config, 0
    enough = SHARE * world.mdp.solve().J

    def timed(phase: str, work: Callable[..., Made], *arguments: object) -> Made:
        begin = time.perf_counter()
        result = work(*arguments)
        seconds[phase] += time.perf_counter() - begin
        return result

    timed("fit", side.fit, timed("collect", world.collect))
    while step < updates if updates is not None else exact_J(side) < enough:
        if step == c.improve_steps and updates is None:
            raise SystemExit(f"{type(side).__name__} did not reach {SHARE} J* in {step} updates (seed {c.seed})")
        lr = warmup_cosine(step, c.improve_steps // 20, c.improve_steps, c.improve_lr, c.improve_lr / 2)
        timed("improve", side.improve, timed("act", side.act), step, lr)
        step += 1
    return seconds | {"all": sum(seconds.values()), "updates": step}


def exact_J(side: Ours | Torch) -> float:
    """Return exact J of a side's policy."""
    return exact_value(make_agent(side.model(), side.world.tokenizer, side.world.mdp, 0), side.world.mdp)


def require_equal(seed: int) -> None:
    """Stop unless both sides' gradients of the fit and of an update agree, on the same experience and parameters."""
    world = World(seed)
    peer, experience = Torch(world), Ours(world).act()
    ids = np.random.default_rng(seed).integers(world.tokenizer.vocab_size, size=(8, 20))
    peer.agent.optimizer.zero_grad()
    peer.agent.likelihood(ids, ids).backward()
    _require_close("fit", likelihood_gradient(world.model, ids, ids)[1], peer)
    peer.agent.backward(experience)
    _require_close("update", -policy_gradient(world.model, world.tokenizer, experience, coefficients(experience)), peer)


def _require_close(what: str, gradient: np.ndarray, peer: Torch) -> None:
    from benchmarks.peers import torch_gpt

    its = torch_gpt.flat_gradient(peer.agent.peer, peer.world.model.parameters)
    apart = float(np.abs(gradient - its).max() / np.abs(its).max())
    if not apart <= CLOSE:
        raise SystemExit(f"the gradients of the {what} are {apart:.1e} apart")


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the whole job and its phases; every seed, from 0, is a round."""
    _, missing = present({TORCH: lambda: Torch(World(0))}, options.peers)
    makers = {"ours": Ours, TORCH: Torch} if TORCH not in missing else {"ours": Ours}
    if TORCH in makers:
        require_equal(0)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in makers}
    for seed in repeat(options.seconds, MOST_SEEDS):
        for name, maker in makers.items():
            found[name].append(job(maker(World(seed)), options.updates))
    whole = f"to {SHARE} J*" if options.updates is None else f"{options.updates} updates"
    yield from table(whole, found, AIM if options.updates is None else None)
    yield from absent(whole, missing)


def table(whole: str, found: dict[str, list[dict[str, float]]], aim: float | None) -> Iterator[Row]:
    """Yield the lines of what was measured: the whole, its phases and an update of each."""
    ours, theirs = found["ours"], found.get(TORCH, [])
    phases: dict[str, tuple[str, Callable[[dict], float]]] = {
        whole: ("s", lambda run: run["all"]),
        "of it: collect": ("s", lambda run: run["collect"]),
        "of it: fit": ("s", lambda run: run["fit"]),
        "act, an update": ("ms", lambda run: run["act"] / run["updates"]),
        "improve, an update": ("ms", lambda run: run["improve"] / run["updates"]),
        "updates taken": ("", lambda run: run["updates"]),
    }
    for case, (unit, value) in phases.items():
        mine, other = [value(run) for run in ours], [value(run) for run in theirs]
        line = row(case, TORCH if theirs else "", mine, other if theirs else mine, aim=aim if case == whole else None, unit=unit)
        yield line if theirs else dataclasses.replace(line, theirs=None, ratio=None, aim=None)


def main(options: argparse.Namespace) -> None:
    """Print the comparison."""
    recycle_memory()
    with single_threaded_blas():
        show(options, "agent", f"minillm train {TrainConfig.env}, a round for each seed", rows(options))
