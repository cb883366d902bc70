"""The main job on a tiny world: files, numbers, repeatability, interruption, and errors that lose nothing."""

import dataclasses
import json

import numpy as np
import pytest

import envs
from minillm import checkpoint
from minillm.errors import CheckpointError, RunDirectoryError, UserError
from minillm.experience import read_jsonl
from minillm.run import Run, TrainConfig, exact_policy, exact_value, load_run

TINY = TrainConfig(
    env="text/bandit-2-2", seed=3, n_embd=16, n_head=2, collect_episodes=64, fit_steps=20, fit_batch_size=16,
    improve_steps=80, improve_episodes=32, improve_lr=1e-2,
)  # fmt: skip


def execute(tmp_path, config=TINY, name="run"):
    run = Run(config, checkpoint.prepare_directory(tmp_path / name), quiet=True)
    return run, run.execute()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return execute(tmp_path_factory.mktemp("runs"))


def test_the_agent_learns_and_the_summary_says_so(finished):
    _run, summary = finished
    exact = summary["exact"]
    mdp = envs.exact(TINY.env)
    assert exact["uniform"] == mdp.value(mdp.uniform())
    assert exact["optimal"] == mdp.solve().J
    assert exact["improve"] > 0.8 * exact["optimal"] > exact["uniform"]
    assert summary["env"], summary["seed"] == ("text/bandit-2-2", 3)
    assert summary["episodes"] == 64 + 80 * 32


def test_the_directory_holds_what_the_readme_promises(finished):
    run, summary = finished
    assert json.loads((run.directory / "summary.json").read_text()) == summary
    assert json.loads((run.directory / "config.json").read_text()) == dataclasses.asdict(TINY)
    experience = read_jsonl(run.directory / "episodes.jsonl")
    assert len(np.unique(experience.episodes)) == summary["episodes"]
    first = experience.take(experience.episodes < 64)
    np.testing.assert_allclose(first.log_probs.sum(axis=1), -np.log(7))  # the uniform policy over 1 + 2 + 4 strings
    phases = [json.loads(line)["phase"] for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    assert phases.count("fit") == 20
    assert phases.count("improve") == 80
    assert not list(run.directory.glob("*.tmp"))


def test_exact_j_comes_back_from_the_checkpoint_to_the_last_digit(finished):
    run, summary = finished
    agent, mdp, facts = load_run(run.directory)
    assert exact_value(agent, mdp) == summary["exact"]["improve"]
    assert facts["env"] == TINY.env


def test_exact_j_is_the_sum_of_rewards_times_probabilities(finished):
    run, summary = finished
    policy = exact_policy(run.agents[0], run.mdp)
    rewards = run.mdp.rewards[0, :-1, 0]
    assert abs(rewards @ policy[0] - summary["exact"]["improve"]) < 1e-15
    assert 0.9 < policy[0].sum() <= 1 + 1e-12


def test_the_same_seed_gives_the_same_numbers_on_any_number_of_cores(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("minillm.threads._cores", lambda: 1)
    _, again = execute(tmp_path)
    assert again["exact"] == finished[1]["exact"]
    _, other = execute(tmp_path, dataclasses.replace(TINY, seed=4), "other")
    assert other["exact"]["improve"] != again["exact"]["improve"]


def test_what_is_not_a_run_is_said(tmp_path):
    with pytest.raises(RunDirectoryError, match="no run directory"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_run(tmp_path)
    with pytest.raises(UserError, match="seed must be an integer"):
        TrainConfig(seed="1")
    with pytest.raises(UserError, match="improve_steps must be at least 1"):
        TrainConfig(improve_steps=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3])
def test_the_main_job_reaches_98_percent_of_the_optimum(tmp_path, seed):
    _, summary = execute(tmp_path, TrainConfig(seed=seed))
    assert summary["exact"]["improve"] >= 0.98 * summary["exact"]["optimal"]
    assert summary["exact"]["optimal"] == envs.exact("grid/empty-5").solve().J
