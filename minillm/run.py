"""The main job: collect, fit, act, improve, in one run directory, with exact J before, between and after."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm import checkpoint
from minillm.agent import LLMAgent
from minillm.errors import CheckpointError, NonFiniteError, RunDirectoryError, UserError, require_integer, require_number
from minillm.experience import Experience, read_jsonl, write_jsonl
from minillm.gradients import SHARDS
from minillm.imitation import best_steps
from minillm.optimizers import AdamW, require_finite, warmup_cosine
from minillm.played_world import estimate, sampled_value
from minillm.progress import Progress
from minillm.resumable_run import ResumableRun
from minillm.resuming import found_run, pick
from minillm.rollouts import Player, play, remembered_world
from minillm.sampling import PLAIN, Sampling
from minillm.saved_coefficients import write_coefficients
from minillm.start import shape_of, start
from minillm.threads import parallel_map, single_threaded_blas
from minillm.tokenizer import Tokenizer
from minillm.train_config import TrainConfig
from minillm.training import fit_rate, fit_step, improve, uniform_policy
from minillm.transcripts import Transcripts
from minillm.transformer import GPT
from minillm.worlds import find, has_table, require_table

PHASES = ("start", "collect", "fit", "improve")
CURVE_POINTS = 6  # exact J is computed this often while improving


class Run(ResumableRun):
    """A run under way: its configuration, world, model and files. Its steps are those of the fit, then those that improve.

    Parameters
    ----------
    config : TrainConfig
    directory : Path
    quiet : bool
    found : Checkpoint, optional
        Of this run, which is to go on from there.
    """

    command = "train"

    def __init__(
        self, config: TrainConfig, directory: Path, quiet: bool = False, found: checkpoint.Checkpoint | None = None
    ) -> None:
        super().__init__(config, directory, quiet)
        self.journals = ("metrics.jsonl", "episodes.jsonl", "coefficients.jsonl")[: 3 if config.save_coefficients else 2]
        self.mdp = remembered_world(config.env, json.dumps(config.env_options))
        self.kind = "exact" if has_table(self.mdp) else "sampled"
        self.map: Callable[..., list] = parallel_map  # or that of a minillm.crew.Crew, which changes no number
        init, fitting, worlds, uniform, acting = np.random.SeedSequence(config.seed).spawn(5)
        both = {"uniform": uniform, "acting": acting}
        parts = {f"{name}-{k}": s for name, of in both.items() for k, s in enumerate(of.spawn(config.shards))}
        self.random = {name: np.random.default_rng(s) for name, s in {"fit": fitting, "worlds": worlds, **parts}.items()}
        if found is None:
            self.config, self.tokenizer, self.model = start(config, self.mdp, np.random.default_rng(init))
        else:  # before a model is made, which a size that is wrong would blow up; a pretrained one may be gone by now
            self.require_shape(found, shape_of(config, found.tokenizer, self.mdp) if config.model is None else found.model.config)
            self.tokenizer, self.model = found.tokenizer, found.model
        self.agents = [
            make_agent(self.model, self.tokenizer, self.mdp, self.random[f"acting-{k}"], config.sampling) for k in range(config.shards)
        ]
        self.optimizer = AdamW(self.model.parameters, config.fit_lr)
        self.curve: list[tuple[int, float]] = []
        self.episodes = 0
        self.ends: dict[str, float] = {}
        self.sampled: dict[str, dict[str, Any]] = {}  # where J is not exact: mean, standard error and number, by phase

        if found is not None:
            self.take_up(found)

    def work(self) -> None:
        """Collect, fit, improve: what of it is left to do."""
        c, total = self.config, self.config.fit_steps + self.config.improve_steps
        if not self.episodes:
            self.ends["start"] = self.clock()
            self._collect()
            self.pause()
        if self.step < c.fit_steps:
            experience = read_jsonl(self.directory / "episodes.jsonl")  # nothing else has been played yet
            self.transcripts = Transcripts(self.tokenizer, best_steps(experience, c.fit_best, c.fit_by))
            with Progress("fit", c.fit_steps - self.step, "step", self.quiet) as progress:
                self.advance(c.fit_steps, self._fit, progress)
        if self.step < total:
            with Progress("improve", total - self.step, "update", self.quiet) as progress:
                self.advance(total, self._improve, progress)

    def label(self) -> dict[str, Any]:
        """Return the phase and, from 0, the number of the last step in it."""
        done = self.step - self.config.fit_steps
        return {"phase": "fit", "step": self.step - 1} if done <= 0 else {"phase": "improve", "step": done - 1}

    def landmark(self, progress: Progress) -> None:
        """Compute exact J after the fit, at the end, and some times between."""
        c, done = self.config, self.step - self.config.fit_steps
        every = max(1, c.improve_steps // CURVE_POINTS)
        if done >= 0 and (done % every == 0 or done == c.improve_steps):
            self._record()
        if done == 0:
            self._begin_to_improve()
            self.reference = GPT.from_vector(self.model.config, self.model.parameters.vector.copy()) if c.reference else None
        if done in (0, c.improve_steps):
            self.ends["improve" if done else "fit"] = self.clock()

    def _begin_to_improve(self) -> None:
        self.optimizer = AdamW(self.model.parameters, self.config.improve_lr, betas=(0.9, 0.99), weight_decay=0.0)

    def _collect(self) -> None:
        c = self.config
        uniform = [uniform_policy(self.tokenizer, self.mdp.action_texts, self.random[f"uniform-{k}"]) for k in range(c.shards)]
        with Progress("collect", 1, "batch", self.quiet) as progress:
            experience = self._play(uniform, c.collect_episodes, 1, parallel_map)
            progress.update(episodes=c.collect_episodes, steps=len(experience))
            if self.kind == "sampled":
                progress.say(f"{self.mdp.id} has no exact table: J is sampled")
        if self.kind == "sampled":
            self.sampled["uniform"] = estimate(experience.returns())
        self.ends["collect"] = self.clock()

    def _fit(self) -> tuple[dict[str, Any], dict[str, Any]]:
        c = self.config
        ids, targets = self.transcripts.draw(c.fit_batch_size, self.random["fit"])
        loss = fit_step(self.model, self.optimizer, ids, targets, self.step, fit_rate(self.step, c.fit_steps, c.fit_lr))
        return {"loss": loss}, {"loss": loss}

    def _improve(self) -> tuple[dict[str, Any], dict[str, Any]]:
        c, step = self.config, self.step - self.config.fit_steps
        experience = self._play(self.agents, c.improve_episodes, c.group, self.map)
        lr = warmup_cosine(step, c.improve_steps // 20, c.improve_steps, c.improve_lr, c.improve_lr / 2)
        improve(
            self.model, self.tokenizer, experience, self.optimizer, step=step, lr=lr, estimator=c.method, epochs=c.epochs,
            sampling=c.sampling, reference=self.reference, on_coefficients=self._saver(step, experience), map=self.map,
        )  # fmt: skip
        mean_return = float(experience.returns().mean())
        return {"mean_return": mean_return, "lr": lr}, {"mean_return": mean_return}

    def _saver(self, update: int, experience: Experience) -> Callable[[int, np.ndarray], None]:
        def save(epoch: int, c: np.ndarray) -> None:
            if self.config.save_coefficients:
                first = self.episodes - self.config.improve_episodes
                write_coefficients(
                    self.files["coefficients.jsonl"], experience, c, self.tokenizer, update=update, epoch=epoch, first_episode=first
                )

        return save

    def _play(self, players: Sequence[Player], episodes: int, group: int, map: Callable[..., list]) -> Experience:
        experience = play(self.config.env, self.config.env_options, players, episodes, group, self.random["worlds"], map)
        write_jsonl(self.files["episodes.jsonl"], experience, self.episodes)
        self.episodes += episodes
        return experience

    def _record(self) -> None:
        """Compute exact J, or estimate J where there is no table, and put it on the curve."""
        require_finite("the parameter", self.model.parameters, self.model.parameters.vector, self.step)
        if self.kind == "exact":
            value, more = exact_value(self.agents[0], self.mdp), {}
        else:
            more = sampled_value(self.agents[0], self.mdp, int(self.random["worlds"].integers(1 << 62)))
            value = more["mean"]
            self.sampled["improve" if self.curve else "fit"] = more
        self.curve.append((self.episodes, value))
        self.measure({"phase": self.kind, "episodes": self.episodes, self.kind: value, **more})

    def facts(self) -> dict[str, Any]:
        """Return what :func:`load_run` needs, and the state of everything that moves beside parameters and moments."""
        c = self.config
        return {
            "env": c.env, "env_options": c.env_options, "seed": c.seed, "sampling": dataclasses.asdict(c.sampling),
            "episodes": self.episodes, "curve": self.curve, "ends": self.ends,
            "sampled": self.sampled,
            "random": {name: rng.bit_generator.state for name, rng in self.random.items()},
        }  # fmt: skip

    def restore(self, found: checkpoint.Checkpoint) -> None:
        """Take up :meth:`facts`."""
        facts, c = found.facts, self.config
        done, fitted = self.step - c.fit_steps, self.step >= c.fit_steps
        if done > c.improve_steps or (found.reference is not None) != (c.reference and fitted) or bool(facts["curve"]) != fitted:
            raise ValueError(f"{self.step} steps, {len(facts['curve'])} values of J")
        self.episodes, self.reference = c.collect_episodes + max(0, done) * c.improve_episodes, found.reference
        self.curve = [(require_integer("episodes", episodes, 1), float(value)) for episodes, value in facts["curve"]]
        self.ends = {name: require_number(name, facts["ends"][name]) for name in PHASES[: 2 + fitted + (done == c.improve_steps)]}
        self.sampled = {name: dict(facts["sampled"][name]) for name in facts.get("sampled", {})}
        for name, rng in self.random.items():
            rng.bit_generator.state = facts["random"][name]
        if fitted:
            self._begin_to_improve()

    def summarise(self) -> dict[str, Any]:
        """Return the exact (or sampled) values and where the time went."""
        return {
            "env": self.config.env,
            "env_options": self.config.env_options,
            "seed": self.config.seed,
            "estimator": self.config.estimator,
            "seconds": round(self.elapsed, 3),
            "seconds_of": {name: round(self.ends[name] - self.ends[last], 3) for last, name in itertools.pairwise(PHASES)},
            "episodes": self.episodes,
            self.kind: self._exact_values() if self.kind == "exact" else self.sampled,
        }

    def _exact_values(self) -> dict[str, float]:
        uniform, optimum = float(self.mdp.value(self.mdp.uniform())), self.mdp.solve().J
        return {"uniform": uniform, "fit": self.curve[0][1], "improve": self.curve[-1][1], "optimal": optimum}


def resume_run(directory: Path, given: Mapping[str, Any], quiet: bool = False) -> Run:
    """Return a run as its last checkpoint has it.

    Parameters
    ----------
    directory : Path
    given : mapping
        What was asked for; it must agree with ``config.json``.
    quiet : bool

    Raises
    ------
    RunDirectoryError, CheckpointError
        If there is no run, a file of it is damaged, or a key contradicts; the message names the key.
    """
    saved, found = found_run(directory, given)
    return Run(pick(TrainConfig, saved, directory), directory, quiet, found)


def make_agent(model: GPT, tokenizer: Tokenizer, mdp: Any, rng: Any, sampling: Sampling = PLAIN) -> LLMAgent:
    """Return an agent whose actions may be one token longer than the longest valid one, so that what is cut is never valid."""
    longest = int(tokenizer.encode_batch(mdp.action_texts)[1].max())
    return LLMAgent(model, tokenizer, **dataclasses.asdict(sampling), max_new_tokens=longest + 1, rng=rng)


def exact_policy(agent: LLMAgent, mdp: Any) -> np.ndarray:
    r"""Return $\pi(a\mid s)$, shape (S, A), of the valid strings, in float64; rows of terminal states are zero."""
    require_table(mdp)
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
    """Return the agent of a run, its world (the table, if there is one), and what the checkpoint says of the run.

    Raises
    ------
    RunDirectoryError, CheckpointError
        If there is no run, or its checkpoint is damaged or of another environment's shape.
    """
    if not directory.is_dir():
        raise RunDirectoryError(f"there is no run directory {directory}")
    found = checkpoint.load(directory / "checkpoint.npz")
    try:
        mdp = find(found.facts["env"], **found.facts["env_options"])
        agent = make_agent(found.model, found.tokenizer, mdp, found.facts["seed"], Sampling(**found.facts["sampling"]))
    except UserError:
        raise
    except checkpoint.DAMAGE as error:
        raise CheckpointError(f"{directory / 'checkpoint.npz'} is not of a run of minillm train ({error!r:.120})") from None
    return agent, mdp, found.facts
