"""Parts of one run: whoever plays and differentiates them, every bit of the run is the same."""

import dataclasses
import functools
import pickle

import numpy as np
import pytest

import envs
from minillm.checkpoint import prepare_directory
from minillm.crew import Crew
from minillm.executors import executor
from minillm.experience import concatenate
from minillm.rollouts import play, remembered_world
from minillm.run import Run, make_agent
from minillm.threads import parallel_map
from minillm.train_config import TrainConfig
from minillm.training import collect, uniform_policy

TINY = TrainConfig(
    env="text/bandit-2-2", seed=3, n_embd=8, n_head=2, collect_episodes=32, fit_steps=3, fit_batch_size=8, improve_steps=3,
    improve_episodes=32, improve_lr=1e-2, shards=3,
)  # fmt: skip


def pickled_map(function, items):
    """What a worker on another machine would do: it sees copies only, and we see a copy of what it returns."""
    return [pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(item))))) for item in items]


def files(tmp_path, name, map, config=TINY):
    run = Run(config, prepare_directory(tmp_path / name), quiet=True)
    run.map = map
    run.execute()
    return run.model.parameters.vector.tobytes(), (run.directory / "episodes.jsonl").read_bytes(), run.curve


@pytest.mark.parametrize("estimator", ["state_rloo", "gae", "kl_full"])  # a coefficient a token; with values; a token of the vocabulary
def test_a_run_in_copies_is_the_run_in_threads(tmp_path, estimator):
    config = dataclasses.replace(TINY, estimator=estimator, epochs=2)
    assert files(tmp_path, "threads", parallel_map, config) == files(tmp_path, "copies", pickled_map, config)


def test_a_run_on_workers_is_the_run_in_threads(tmp_path):
    with Crew(functools.partial(executor, "process:2")) as crew:
        assert files(tmp_path, "workers", crew.map) == files(tmp_path, "threads", parallel_map)


def test_the_number_of_parts_is_part_of_the_run(tmp_path):
    assert files(tmp_path, "3", parallel_map)[1] != files(tmp_path, "4", parallel_map, dataclasses.replace(TINY, shards=4))[1]


def test_parts_are_vector_environments_with_seeds_of_their_own(random_model):
    mdp = envs.exact("text/bandit-2-2")
    run = Run(TINY, None, quiet=True)
    agents = [make_agent(run.model, run.tokenizer, mdp, seed) for seed in (1, 2)]
    found = play("text/bandit-2-2", {}, agents, 10, 2, np.random.default_rng(5), pickled_map)
    seeds = np.random.default_rng(5).integers(1 << 62, size=2).tolist()
    again = [make_agent(run.model, run.tokenizer, mdp, seed) for seed in (1, 2)]
    worlds = [envs.VectorEnv(mdp, n, seed=seed, autoreset="disabled") for n, seed in zip((6, 4), seeds, strict=True)]
    parts = [collect(world, agent.act, 2) for world, agent in zip(worlds, again, strict=True)]
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(concatenate(parts), field.name))
    assert [a.rng.random() for a in agents] == [a.rng.random() for a in again]  # the draws of a copy count


def test_fewer_episodes_than_players(random_model):
    run = Run(TINY, None, quiet=True)
    uniform = [uniform_policy(run.tokenizer, run.mdp.action_texts, seed) for seed in range(3)]
    found = play("text/bandit-2-2", {}, uniform, 2, 1, np.random.default_rng(5), parallel_map)
    assert found.episodes.max() == 1


def test_a_table_is_made_once():
    assert remembered_world("text/bandit-2-1", "{}") is remembered_world("text/bandit-2-1", "{}")


def test_a_model_is_sent_as_one_vector(random_model):
    model = random_model(value_head=True)
    copy = pickle.loads(pickle.dumps(model))
    copy.parameters.vector[:] = 7
    assert all((view == 7).all() for view in copy.parameters.values())
    assert len(pickle.dumps(model)) < model.parameters.vector.nbytes + 4000
