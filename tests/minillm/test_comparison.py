"""Several estimators over several seeds."""

import json

import numpy as np
import pytest

from minillm.comparison import band, compare, table
from minillm.errors import UserError
from minillm.train_config import TrainConfig

TINY = TrainConfig(
    env="text/bandit-2-1", seed=3, n_embd=8, n_head=2, collect_episodes=16, fit_steps=3, fit_batch_size=8, improve_steps=3,
    improve_episodes=16, improve_lr=1e-2,
)  # fmt: skip


def test_the_band_is_students():
    """Of 1, 2, 3: s = 1, and t at 97.5 % with two degrees of freedom is 4.3027 (any printed table)."""
    mean, half = band(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]))
    assert mean.tolist() == [2, 5]
    assert half[0] == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    assert half[1] == 0
    assert np.isnan(band(np.array([[1.0]]))[1]).all()


def test_each_estimator_is_trained_with_each_seed(tmp_path):
    found = compare(TINY, ["rloo", "reinforce"], 2, tmp_path / "out", quiet=True)
    assert found["seeds"] == [3, 4]
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == found
    for name in ("rloo", "reinforce"):
        for k, seed in enumerate(found["seeds"]):
            summary = json.loads((tmp_path / "out" / f"{name}-seed{seed}" / "summary.json").read_text())
            assert (summary["estimator"], summary["seed"]) == (name, seed)
            assert found["methods"][name][k][-1] == summary["exact"]["improve"]
            assert len(found["methods"][name][k]) == len(found["episodes"])
    text = table(found)
    assert "text/bandit-2-1: exact J after 64 episodes, 2 seeds each" in text
    assert f"{np.mean([c[-1] for c in found['methods']['rloo']]):.4f}" in text
    one = {**found, "seeds": [3], "methods": {"rloo": found["methods"]["rloo"][:1]}}
    assert "one seed, no band" in table(one)


def test_what_cannot_be_compared_leaves_no_directory(tmp_path):
    for names in (["rloo", "rloo"], ["rloo", "rlo"], ["optimal_baseline"]):
        with pytest.raises(UserError, match=r"named twice|no estimator 'rlo'; near it: rloo|needs score_norms"):
            compare(TINY, names, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()
