"""The main job: collect, fit, act, improve, in one run directory, with exact J before, between and after."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from minillm import checkpoint
from minillm.agent import LLMAgent
from minillm.errors import CheckpointError, NonFiniteError, RunDirectoryError
from minillm.experience import Experience, concatenate, write_jsonl
from minillm.gradients import SHARDS
from minillm.imitation import best_steps
from minillm.optimizers import AdamW, require_finite, warmup_cosine
from minillm.progress import Progress
from minillm.sampling import PLAIN, Sampling
from minillm.saved_coefficients import write_coefficients
from minillm.start import start
from minillm.threads import parallel_map, single_threaded_blas
from minillm.tokenizer import Tokenizer
from minillm.train_config import TrainConfig
from minillm.training import Policy, collect, fit, improve, uniform_policy
from minillm.transformer import GPT
from minillm.worlds import exact, load_envs

CURVE_POINTS = 6  # exact J is computed this often while improving


class Run:
    """A run under way: its configuration, world, model and files.

    Parameters
    ----------
    config : TrainConfig
    directory : Path
        Where :meth:`execute` writes: an empty run directory; see :func:`minillm.checkpoint.prepare_directory`.
    quiet : bool
        No progress on stderr.
    """

    def __init__(self, config: TrainConfig, directory: Path, quiet: bool = False) -> None:
        self.directory, self.quiet = directory, quiet
        self.envs = load_envs()
        self.mdp = exact(config.env, **config.env_options)
        init, fitting, worlds, uniform, acting = np.random.SeedSequence(config.seed).spawn(5)
        self.fit_rng, self.worlds_rng = np.random.default_rng(fitting), np.random.default_rng(worlds)
        self.config, self.tokenizer, self.model = start(config, self.mdp, np.random.default_rng(init))
        self.agents = [
            make_agent(self.model, self.tokenizer, self.mdp, np.random.default_rng(s), config.sampling) for s in acting.spawn(SHARDS)
        ]
        self.uniform = [
            uniform_policy(self.tokenizer, self.mdp.action_texts, np.random.default_rng(s)) for s in uniform.spawn(SHARDS)
        ]
        self.metrics: IO[str] = io.StringIO()
        self.log: IO[str] = io.StringIO()
        self.coefficients: IO[str] = io.StringIO()
        self.optimizer = AdamW(self.model.parameters, config.improve_lr, betas=(0.9, 0.99), weight_decay=0.0)
        self.seconds: dict[str, float] = {}
        self.curve: list[tuple[int, float]] = []
        self.episodes = 0

    def execute(self) -> dict[str, Any]:
        """Run the four steps and return the summary.

        Raises
        ------
        NonFiniteError
            If a loss, a gradient or a parameter stops being finite; the last good checkpoint stays.
        KeyboardInterrupt
            If interrupted; what was learned so far is then saved.
        """
        with single_threaded_blas(), np.errstate(all="ignore"):  # what is not finite is found and named by the checks
            try:
                return self._execute()
            except KeyboardInterrupt:
                self._save()
                raise KeyboardInterrupt(f"; {self.directory} can be played and evaluated") from None

    def _execute(self) -> dict[str, Any]:
        start = time.perf_counter()
        checkpoint.write_json(self.directory / "config.json", dataclasses.asdict(self.config))
        with contextlib.ExitStack() as files:
            self.metrics = files.enter_context(open(self.directory / "metrics.jsonl", "w", buffering=1))
            self.log = files.enter_context(open(self.directory / "episodes.jsonl", "w"))
            if self.config.save_coefficients:
                self.coefficients = files.enter_context(open(self.directory / "coefficients.jsonl", "w"))
            optimum, uniform = self.mdp.solve().J, float(self.mdp.value(self.mdp.uniform()))
            experience = self._phase("collect", self._collect)
            self._phase("fit", lambda: self._fit(experience))
            fitted = self._record()
            self._phase("improve", self._improve)
            improved = self._record()
        summary = {
            "env": self.config.env,
            "env_options": self.config.env_options,
            "seed": self.config.seed,
            "estimator": self.config.estimator,
            "seconds": round(time.perf_counter() - start, 3),
            "seconds_of": {name: round(value, 3) for name, value in self.seconds.items()},
            "episodes": self.episodes,
            "exact": {"uniform": uniform, "fit": fitted, "improve": improved, "optimal": optimum},
        }
        checkpoint.write_json(self.directory / "summary.json", summary)
        return summary

    def _phase(self, name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds[name] = time.perf_counter() - start

    def _collect(self) -> Experience:
        c = self.config
        with Progress("collect", 1, "batch", self.quiet) as progress:
            experience = self._play(self.uniform, c.collect_episodes)
            progress.update(episodes=c.collect_episodes, steps=len(experience))
        return experience

    def _fit(self, experience: Experience) -> None:
        c = self.config
        with Progress("fit", c.fit_steps, "step", self.quiet) as progress:

            def on_step(step: int, loss: float) -> None:
                self._measure(phase="fit", step=step, loss=loss)
                progress.update(loss=loss)

            fit(
                self.model, self.tokenizer, best_steps(experience, c.fit_best), steps=c.fit_steps,
                batch_size=c.fit_batch_size, lr=c.fit_lr, rng=self.fit_rng, on_step=on_step,
            )  # fmt: skip

    def _improve(self) -> None:
        c = self.config
        every = max(1, c.improve_steps // CURVE_POINTS)
        reference = GPT.from_vector(self.model.config, self.model.parameters.vector.copy()) if c.reference else None
        with Progress("improve", c.improve_steps, "update", self.quiet) as progress:
            for step in range(c.improve_steps):
                experience = self._play([agent.remembering_act() for agent in self.agents], c.improve_episodes, c.group)
                lr = warmup_cosine(step, c.improve_steps // 20, c.improve_steps, c.improve_lr, c.improve_lr / 2)
                improve(
                    self.model, self.tokenizer, experience, self.optimizer, step=step, lr=lr, estimator=c.method, epochs=c.epochs,
                    sampling=c.sampling, reference=reference, on_coefficients=self._saver(step, experience),
                )  # fmt: skip
                mean_return = float(experience.returns().mean())
                self._measure(phase="improve", step=step, mean_return=mean_return, lr=lr)
                progress.update(mean_return=mean_return)
                if (step + 1) % every == 0 and step + 1 < c.improve_steps:
                    self._record()

    def _saver(self, update: int, experience: Experience) -> Callable[[int, np.ndarray], None]:
        def save(epoch: int, c: np.ndarray) -> None:
            if self.config.save_coefficients:
                first = self.episodes - self.config.improve_episodes
                write_coefficients(self.coefficients, experience, c, self.tokenizer, update=update, epoch=epoch, first_episode=first)

        return save

    def _play(self, policies: list[Policy], episodes: int, group: int = 1) -> Experience:
        """Play in as many parts as there are policies, side by side, each with random numbers of its own."""
        counts = [len(part) * group for part in np.array_split(np.arange(episodes // group), len(policies)) if len(part)]
        seeds = self.worlds_rng.integers(1 << 62, size=len(counts)).tolist()

        def play(part: int) -> Experience:
            world = self.envs.VectorEnv(self.mdp, counts[part], seed=seeds[part], autoreset="disabled")
            return collect(world, policies[part], group)

        experience = concatenate(parallel_map(play, range(len(counts))))
        write_jsonl(self.log, experience, self.episodes)
        self.episodes += episodes
        return experience

    def _record(self) -> float:
        """Compute exact J, put it on the curve, and save a checkpoint."""
        require_finite("the parameter", self.model.parameters, self.model.parameters.vector, self.optimizer.t)
        value = exact_value(self.agents[0], self.mdp)
        self.curve.append((self.episodes, value))
        self._measure(phase="exact", episodes=self.episodes, exact=value)
        self._save()
        return value

    def _measure(self, **facts: Any) -> None:
        self.metrics.write(json.dumps(facts) + "\n")

    def _save(self) -> None:
        checkpoint.save(
            self.directory / "checkpoint.npz", self.model, self.tokenizer, self.optimizer,
            env=self.config.env, env_options=self.config.env_options, seed=self.config.seed, episodes=self.episodes,
            sampling=dataclasses.asdict(self.config.sampling),
        )  # fmt: skip


def make_agent(model: GPT, tokenizer: Tokenizer, mdp: Any, rng: Any, sampling: Sampling = PLAIN) -> LLMAgent:
    """Return an agent whose actions may be one token longer than the longest valid one, so that what is cut is never valid."""
    longest = int(tokenizer.encode_batch(mdp.action_texts)[1].max())
    return LLMAgent(model, tokenizer, **dataclasses.asdict(sampling), max_new_tokens=longest + 1, rng=rng)


def exact_policy(agent: LLMAgent, mdp: Any) -> np.ndarray:
    r"""Return $\pi(a\mid s)$, shape (S, A), of the valid strings, in float64; rows of terminal states are zero."""
    precise = LLMAgent(agent.model.astype(np.float64), agent.tokenizer)
    precise.sampling = agent.sampling
    policy = np.zeros((len(mdp.state_texts), len(mdp.action_texts)))

    def score(states: np.ndarray) -> None:
        policy[states] = np.exp(precise.action_log_probs(mdp.state_texts[states], mdp.action_texts))

    parallel_map(score, [part for part in np.array_split(np.flatnonzero(~mdp.terminal), SHARDS) if len(part)])
    if not np.isfinite(policy).all():
        raise NonFiniteError("the action probabilities of the model are not finite")
    return policy


def exact_value(agent: LLMAgent, mdp: Any) -> float:
    """Return exact J of the agent's policy: |S|×|A| action log-probabilities, then dynamic programming; no sampling."""
    with single_threaded_blas():
        return float(mdp.value(exact_policy(agent, mdp)))


def load_run(directory: Path) -> tuple[LLMAgent, Any, dict[str, Any]]:
    """Return the agent of a run, its table, and what the checkpoint says of the run.

    Raises
    ------
    RunDirectoryError, CheckpointError
        If there is no run, or its checkpoint is damaged or of another environment's shape.
    """
    if not directory.is_dir():
        raise RunDirectoryError(f"there is no run directory {directory}")
    found = checkpoint.load(directory / "checkpoint.npz")
    if "env" not in found.facts:
        raise CheckpointError(f"{directory / 'checkpoint.npz'} does not name its environment; it is not of a run of minillm train")
    mdp = exact(found.facts["env"], **found.facts.get("env_options", {}))
    sampling = Sampling(**found.facts.get("sampling", {}))
    return make_agent(found.model, found.tokenizer, mdp, found.facts.get("seed"), sampling), mdp, found.facts
