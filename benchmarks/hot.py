"""What runs outside the model, as array expressions, against the plain loops that the tests hold as references."""

from __future__ import annotations

import argparse
import functools
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

import envs
from benchmarks.report import show
from benchmarks.rounds import Row, Side, absent, compare, present
from minillm import GPT, CharTokenizer, GPTConfig, LLMAgent
from minillm.estimators.action_sets import log_policy
from minillm.estimators.advantages import gae, group_normalised, vtrace
from minillm.estimators.by_state import by_state
from minillm.experience import Experience
from minillm.imitation import best_steps
from minillm.objectives import token_log_probs
from minillm.returns import leave_one_out_advantages, reward_to_go
from minillm.sampling import Sampling, draw
from minillm.scoring import policy_gradient
from minillm.threads import single_threaded_blas
from minillm.training import collect, uniform_policy
from minillm.transcripts import transcript_ids

TESTS = Path(__file__).parents[1] / "tests" / "minillm"
LOOP = "the plain loop"
N, T, V = 64, 16, 65
Pair = tuple[Callable[[], object], Callable[[], object]]  # ours, the loop's


@functools.cache
def reference(name: str) -> ModuleType:
    """Return a module of the tests; they need the extra `test`."""
    spec = importlib.util.spec_from_file_location(f"reference_{name.replace('/', '_')}", TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def returns_and_advantages() -> Iterator[tuple[str, Pair]]:
    """Yield the pairs that turn rewards into coefficients."""
    rng = np.random.default_rng(0)
    rewards, mask, groups, episodes = rng.normal(size=(N, T)), rng.random((N, T)) < 0.9, np.arange(N) // 8, np.arange(N)
    loops, others, states = reference("test_returns"), reference("estimators/test_advantages"), reference("estimators/test_by_state")
    batch = reference("estimators/conftest")._random_batch(0, N, T)
    yield "reward to go", (lambda: reward_to_go(rewards, mask, 0.9), lambda: loops.loop_reward_to_go(rewards, mask, 0.9))
    total = rewards.sum(axis=1)
    yield "leave-one-out", (
        lambda: leave_one_out_advantages(total, groups, episodes), lambda: loops.loop_leave_one_out(total, groups, episodes)
    )  # fmt: skip
    yield "group-normalised", (lambda: group_normalised(total, groups), lambda: others.loop_group_normalised(total, groups, 1))
    yield "GAE", (lambda: gae(batch, 0.9, 0.95), lambda: others.loop_gae(batch, 0.9, 0.95))
    yield "V-trace", (lambda: vtrace(batch, 0.9, 1.0, 1.0, 1.0), lambda: others.loop_vtrace(batch, 0.9, 1.0, 1.0, 1.0))
    yield "state_rloo", (lambda: by_state().coefficients(batch), lambda: states.loop(batch, "leave_one_out"))


def sampling() -> Iterator[tuple[str, Pair]]:
    """Yield the pairs that turn logits into tokens and log-probabilities."""
    rng, loops = np.random.default_rng(0), reference("test_sampling")
    z, u, targets = rng.normal(size=(N, V)), rng.random(N), rng.integers(V, size=(N, T))
    options, logits = Sampling(0.8, 20, 0.9), rng.normal(size=(N, T, V))
    log_p = Sampling().log_probs(z)
    yield "top-k and top-p", (lambda: options.log_probs(z), lambda: [loops.plain_log_probs(row, 0.8, 20, 0.9) for row in z])
    yield "drawing tokens", (lambda: draw(log_p, u), lambda: loops.loop_draw(log_p, u))
    yield "log p of tokens", (lambda: token_log_probs(logits, targets), lambda: reference("test_objectives").loop_log_probs(logits, targets))


def played(episodes: int) -> tuple[CharTokenizer, list[str], Experience, GPT]:
    """Return steps of the uniform policy on the grid, its action texts, and a model for it."""
    mdp = envs.exact("grid/empty-5")
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts, "0123456789.-\n"])
    world = envs.make_vector("grid/empty-5", episodes, seed=0, autoreset="disabled")
    experience = collect(world, uniform_policy(tokenizer, mdp.action_texts, rng=0))
    width = 2 * int(np.char.str_len(mdp.state_texts).max()) + 20
    model = GPT(GPTConfig(tokenizer.vocab_size, width, 16, 1, 4), rng=0, dtype=np.float64)
    return tokenizer, list(mdp.action_texts), experience, model


def actions_and_texts() -> Iterator[tuple[str, Pair]]:
    """Yield the pairs that score actions, decode them, and make transcripts."""
    tokenizer, actions, experience, model = played(8)
    agent = LLMAgent(model, tokenizer, rng=0)
    states = experience.states.tolist()
    sets = reference("estimators/test_action_sets").random_sets(0, S=N, A=8, L=6)
    c = np.random.default_rng(0).normal(size=len(experience))
    yield "scoring action texts", (
        lambda: agent.action_log_probs(states, actions),
        lambda: reference("test_agent").loop_action_log_probs(model, tokenizer, states, actions),
    )
    yield "policy over action sets", (
        lambda: log_policy(sets, "token_mean"), lambda: reference("estimators/test_action_sets").loop_log_policy(sets, "token_mean")
    )  # fmt: skip
    yield "decoding actions", (
        lambda: agent._texts(experience.action_ids), lambda: reference("test_agent").loop_texts(tokenizer, experience.action_ids)
    )  # fmt: skip
    yield "policy gradient", (
        lambda: policy_gradient(model, tokenizer, experience, c),
        lambda: reference("test_scoring").plain_policy_gradient(model, tokenizer, experience, c),
    )
    yield "transcripts", (
        lambda: _ragged(*transcript_ids(tokenizer, experience)),
        lambda: [token for row in reference("test_transcripts").loop_transcripts(tokenizer, experience) for token in row],
    )
    yield "best steps", (
        lambda: best_steps(experience, 0.3).rewards,
        lambda: experience.rewards[reference("test_imitation").loop_best_steps(experience, 0.3, "step")],
    )


def _ragged(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return ids[np.arange(ids.shape[1]) < lengths[:, None]]


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield a line for each hot loop, after both have given the same."""
    for part in (returns_and_advantages, sampling, actions_and_texts):
        there, missing = present({LOOP: lambda part=part: list(part())})
        for case, (ours, loop) in there.get(LOOP, []):
            ours_is, loop_is = np.asarray(ours()), np.asarray(loop())
            if ours_is.dtype.kind == "U":
                np.testing.assert_array_equal(ours_is, loop_is, err_msg=case)
            else:
                np.testing.assert_allclose(ours_is, loop_is, rtol=1e-9, atol=1e-12, err_msg=case)
            yield from compare(case, Side(ours), {LOOP: Side(loop)}, {}, options.seconds / 10)
        yield from absent(part.__name__.replace("_", " "), missing)


def main(options: argparse.Namespace) -> None:
    """Print the comparison."""
    with single_threaded_blas():  # as in training
        show(options, "hot", f"outside the model: batches of N = {N}, T = {T}, V = {V}; medians of alternating rounds", rows(options))
