"""The main job, `minillm train` with its defaults, until exact J is 0.98·J*, against the same loop in PyTorch.

Both sides share environments, tokenizer, experience, coefficients and exact J; model, sampler, likelihood fit and REINFORCE update
are each side's own. Exact J is computed after every update, with the clock stopped. ``--updates N`` stops after N updates.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.report import show
from benchmarks.rounds import Row, absent, present, repeat, row
from benchmarks.steps import CLOSE
from minillm import GPT
from minillm.experience import Experience
from minillm.gradients import likelihood_gradient
from minillm.optimizers import warmup_cosine
from minillm.run import Run, exact_value, make_agent
from minillm.scoring import policy_gradient
from minillm.threads import recycle_memory, single_threaded_blas
from minillm.train_config import TrainConfig
from minillm.training import coefficients, improve

SHARE, AIM, TORCH = 0.98, 2.0, "torch"
MOST_SEEDS = 5  # as many as fit into --seconds, at least one


class Learner(Protocol):
    """A side's own part of the loop."""

    def fit(self, experience: Experience) -> None: ...
    def play(self) -> Experience: ...
    def improve(self, experience: Experience, step: int, lr: float) -> None: ...
    def model(self) -> GPT: ...


class Ours:
    """As :class:`minillm.run.Run` does it."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def fit(self, experience: Experience) -> None:
        """Fit to the collected experience."""
        self.run._fit(experience)

    def play(self) -> Experience:
        """Play the episodes of an update."""
        run = self.run
        return run._play([agent.remembering_act() for agent in run.agents], run.config.improve_episodes, run.config.group)

    def improve(self, experience: Experience, step: int, lr: float) -> None:
        """Take the update."""
        run = self.run
        improve(run.model, run.tokenizer, experience, run.optimizer, step=step, lr=lr, estimator=run.config.method)

    def model(self) -> GPT:
        """Return the model as it is."""
        return self.run.model


class Torch:
    """The peer's model, sampler and updates in the same world; its threads work inside its operations, on all episodes at once."""

    def __init__(self, run: Run) -> None:
        from benchmarks.peers.torch_agent import TorchAgent

        self.run = run
        self.agent = TorchAgent(run.model, run.tokenizer, run.config, run.agents[0].max_new_tokens, np.random.default_rng(run.config.seed))

    def fit(self, experience: Experience) -> None:
        """Fit to the collected experience."""
        self.agent.fit(experience, self.run.fit_rng)

    def play(self) -> Experience:
        """Play the episodes of an update."""
        return self.run._play([self.agent.policy()], self.run.config.improve_episodes, self.run.config.group)

    def improve(self, experience: Experience, step: int, lr: float) -> None:
        """Take the update."""
        self.agent.improve(experience, lr)

    def model(self) -> GPT:
        """Return the parameters as our model."""
        return self.agent.ours()


def new_run(seed: int) -> Run:
    """Return the default job, not yet begun."""
    return Run(TrainConfig(seed=seed), Path(), quiet=True)


def job(learner: Learner, run: Run, updates: int | None) -> dict[str, float]:
    """Run until exact J is near the optimum, or for so many updates; return the seconds of each phase and the number of updates."""
    seconds = dict.fromkeys(("collect", "fit", "act", "improve"), 0.0)
    c, optimum, step = run.config, run.mdp.solve().J, 0

    def timed(phase: str, work: Callable) -> object:
        begin = time.perf_counter()
        result = work()
        seconds[phase] += time.perf_counter() - begin
        return result

    experience = timed("collect", run._collect)
    timed("fit", lambda: learner.fit(experience))
    while step < updates if updates is not None else exact_J(learner, run) < SHARE * optimum:
        if step == c.improve_steps and updates is None:
            raise SystemExit(f"{type(learner).__name__} did not reach {SHARE} J* in {step} updates (seed {c.seed})")
        lr = warmup_cosine(step, c.improve_steps // 20, c.improve_steps, c.improve_lr, c.improve_lr / 2)
        played = timed("act", learner.play)
        timed("improve", lambda played=played, step=step, lr=lr: learner.improve(played, step, lr))
        step += 1
    return seconds | {"all": sum(seconds.values()), "updates": step}


def exact_J(learner: Learner, run: Run) -> float:
    """Return exact J of a side's policy."""
    return exact_value(make_agent(learner.model(), run.tokenizer, run.mdp, 0), run.mdp)


def require_equal(seed: int) -> None:
    """Stop unless both sides' gradients of the fit and of an update agree, on the same experience and parameters."""
    run = new_run(seed)
    ours, peer = Ours(run), Torch(run)
    experience = ours.play()
    ids = np.random.default_rng(seed).integers(run.tokenizer.vocab_size, size=(8, 20))
    peer.agent.optimizer.zero_grad()
    peer.agent.likelihood(ids, ids).backward()
    _require_close("fit", likelihood_gradient(run.model, ids, ids)[1], peer)
    peer.agent.backward(experience)
    _require_close("update", -policy_gradient(run.model, run.tokenizer, experience, coefficients(experience)), peer)


def _require_close(what: str, gradient: np.ndarray, peer: Torch) -> None:
    from benchmarks.peers import torch_gpt

    its = torch_gpt.flat_gradient(peer.agent.peer, peer.run.model.parameters)
    apart = float(np.abs(gradient - its).max() / np.abs(its).max())
    if not apart <= CLOSE:
        raise SystemExit(f"the gradients of the {what} are {apart:.1e} apart")


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the whole job and its phases; every seed, from 0, is a round."""
    _, missing = present({TORCH: lambda: Torch(new_run(0))}, options.peers)
    makers = {"ours": Ours, TORCH: Torch} if TORCH not in missing else {"ours": Ours}
    if TORCH in makers:
        require_equal(0)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in makers}
    for seed in repeat(options.seconds, MOST_SEEDS):
        for name, maker in makers.items():
            run = new_run(seed)
            found[name].append(job(maker(run), run, options.updates))
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
