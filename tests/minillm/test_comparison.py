"""Several estimators over several seeds."""

import dataclasses
import json

import numpy as np
import pytest

from minillm.comparison import compare, table
from minillm.errors import UserError, WorkerError
from minillm.study import train_once
from minillm.train_config import TrainConfig

TINY = TrainConfig(
    env="text/bandit-2-1", seed=3, n_embd=8, n_head=2, collect_episodes=16, fit_steps=3, fit_batch_size=8, improve_steps=3,
    improve_episodes=16, improve_lr=1e-2,
)  # fmt: skip


def test_each_estimator_is_trained_with_each_seed(tmp_path):
    found = compare(TINY, ["rloo", "reinforce"], [3, 4], tmp_path / "out", "serial", quiet=True)
    assert found["seeds"] == [3, 4]
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == found
    for name in ("rloo", "reinforce"):
        for k, seed in enumerate(found["seeds"]):
            run = train_once(dataclasses.asdict(dataclasses.replace(TINY, estimator=name, seed=seed)))
            assert found["methods"][name][k][-1] == run["exact"]["improve"]
            assert len(found["methods"][name][k]) == len(found["episodes"])
    text = table(found)
    assert "text/bandit-2-1: exact J after 64 episodes, 2 seeds each" in text
    assert f"{np.mean([c[-1] for c in found['methods']['rloo']]):.4f}" in text
    one = {**found, "seeds": [3], "methods": {"rloo": found["methods"]["rloo"][:1]}}
    assert "one seed, no band" in table(one)


def test_what_cannot_be_compared_leaves_no_directory(tmp_path):
    for names in (["rloo", "rloo"], ["rloo", "rlo"], ["optimal_baseline"]):
        with pytest.raises(UserError, match=r"each once|no estimator 'rlo'; near it: rloo|needs score_norms"):
            compare(TINY, names, [0], tmp_path / "out", "serial")
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_is_named_and_the_others_are_done(tmp_path, monkeypatch):
    def train(config):
        if config["seed"] == 4:
            raise OSError("disk full")
        return train_once(config)

    monkeypatch.setattr("minillm.study.train_once", train)
    with pytest.raises(WorkerError, match=r"1 of the runs failed .*resume.*seed=4: OSError: disk full"):
        compare(TINY, ["rloo"], [3, 4], tmp_path / "out", "serial", quiet=True)
    assert len((tmp_path / "out" / "journal.jsonl").read_text().splitlines()) == 2
