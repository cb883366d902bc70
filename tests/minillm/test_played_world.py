"""Training in a world without a table: J is sampled, and said to be."""

import json
import os
import signal

import numpy as np
import pytest
from scipy import stats

import envs
from envs.adapters.foreign import ForeignEnv
from minillm import checkpoint
from minillm.cli import main
from minillm.errors import UserError
from minillm.played_world import PlayedWorld, estimate, spelled
from minillm.run import Run, load_run, resume_run
from minillm.study import train_once
from minillm.train_config import TrainConfig
from minillm.worlds import batch, exact, find, has_table, require_table, single

SMALL = ["--collect-episodes=40", "--fit-steps=30", "--improve-steps=4", "--improve-episodes=16", "--n-embd=16", "--n-head=2"]


class Guess(ForeignEnv):
    """Name the letter that is shown; three turns."""

    def __init__(self, seed=None):
        self.rng = np.random.default_rng(seed)
        super().__init__("test:guess", self.begin, self.play, 3, action_texts=("a", "b"))

    def begin(self, seed):
        self.rng = self.rng if seed is None else np.random.default_rng(seed)
        return self.ask()

    def ask(self):
        self.letter = "ab"[self.rng.integers(2)]
        return f"say {self.letter}"

    def play(self, action):
        paid = float(action == self.letter)
        return self.ask(), paid, False, False


@pytest.fixture(autouse=True)
def registered():
    envs.register("test:guess", lambda id, hidden=False: HiddenGuess() if hidden else Guess())
    yield
    envs.core._REGISTRY.pop("test:guess")
    envs.core._build.cache_clear()


class HiddenGuess(Guess):
    def __init__(self):
        super().__init__()
        self.action_texts = None


def test_the_estimate_is_mean_and_standard_error():
    returns = np.array([1.0, 2.0, 4.0])
    found = estimate(returns)
    assert found == {"mean": pytest.approx(7 / 3), "standard_error": pytest.approx(stats.tstd(returns) / 3**0.5), "n": 3}
    assert spelled(found) == "2.3333 ± 0.8819 (n = 3)"
    assert np.isnan(estimate(returns[:1])["standard_error"])


def test_what_is_known_of_a_played_world():
    world = find("test:guess")
    assert isinstance(world, PlayedWorld)
    assert not has_table(world)
    assert {"say a", "say b"} <= set(world.state_texts.tolist())
    assert world.rewards.tolist() == [0, 1]
    assert single(world, 3).reset()[0] == single(world, 3).reset()[0]
    states, _ = batch(world, 6, 5).reset(options={"group": 3})
    assert [len(set(states[k : k + 3].tolist())) for k in (0, 3)] == [1, 1]
    assert has_table(find("grid/empty-3"))
    assert batch(find("grid/empty-3"), 2, 0).autoreset == "disabled"


def test_without_a_table_nothing_is_exact():
    with pytest.raises(UserError, match="test:guess has no exact table"):
        exact("test:guess")
    with pytest.raises(UserError, match="test:guess has no exact table"):
        require_table(find("test:guess"))
    with pytest.raises(UserError, match="neither a table nor a list of its actions"):
        find("test:guess", hidden=True)
    with pytest.raises(UserError, match="nearest"):
        find("test:gess")


def test_a_run_says_that_j_is_sampled(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "test:guess", *SMALL, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "test:guess has no exact table: J is sampled" in printed.err
    assert "J is sampled, the mean return of n episodes ± its standard error" in printed.out
    summary = json.loads((out / "summary.json").read_text())
    assert "exact" not in summary
    assert {name: of["n"] for name, of in summary["sampled"].items()} == {"uniform": 40, "fit": 100, "improve": 100}
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [r["sampled"] for r in records if r.get("phase") == "sampled"][-1] == summary["sampled"]["improve"]["mean"]
    assert not any(r.get("phase") == "exact" for r in records)
    assert main(["evaluate", str(out)]) == 0
    assert "sampled J of test:guess: " in capsys.readouterr().out
    assert main(["play", str(out), "--plain"]) == 0
    assert "> '" in capsys.readouterr().out
    pytest.importorskip("matplotlib", reason="pictures need the extra 'plot'")
    assert main(["plot", "visits", str(out)]) == 2
    assert "test:guess has no exact table" in capsys.readouterr().err


def test_the_same_seed_plays_the_same(tmp_path):
    for name in "AB":
        assert main(["train", "test:guess", *SMALL, "--out", str(tmp_path / name)]) == 0
    first, second = (load_run(tmp_path / name)[0].model.parameters.vector for name in "AB")
    assert (first == second).all()
    assert (tmp_path / "A" / "episodes.jsonl").read_bytes() == (tmp_path / "B" / "episodes.jsonl").read_bytes()


def test_an_agent_learns_in_it(tmp_path):
    more = ["--collect-episodes=100", "--fit-best=0.5", "--fit-steps=150", "--improve-steps=60", "--improve-episodes=64"]
    assert main(["train", "test:guess", *SMALL[-2:], *more, "--out", str(tmp_path / "run")]) == 0
    sampled = json.loads((tmp_path / "run" / "summary.json").read_text())["sampled"]
    assert sampled["improve"]["mean"] > 2.5 > 2 > sampled["uniform"]["mean"]


def test_a_study_needs_exact_values():
    with pytest.raises(UserError, match="test:guess has no exact table"):
        train_once({"env": "test:guess"})


@pytest.mark.parametrize("stop", [10, 31])
def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(tmp_path, monkeypatch, stop):
    config = TrainConfig(
        env="test:guess", seed=1, n_embd=16, n_head=2, collect_episodes=40, fit_steps=30, improve_steps=4, improve_episodes=16
    )
    runs = []
    for name in ("whole", "stopped"):
        run = Run(config, tmp_path / name, quiet=True)
        checkpoint.prepare_directory(run.directory, config=run.settings())
        runs.append(run)
    whole, stopped = runs
    expected, pause = whole.execute(), stopped.pause

    def interrupt():
        if stopped.step == stop:
            os.kill(os.getpid(), signal.SIGINT)
        pause()

    monkeypatch.setattr(stopped, "pause", interrupt)
    with pytest.raises(KeyboardInterrupt, match=f"after step {stop}"):
        stopped.execute()
    again = resume_run(stopped.directory, {}, quiet=True)
    assert again.execute()["sampled"] == expected["sampled"]
    assert (again.model.parameters.vector == whole.model.parameters.vector).all()
    assert (stopped.directory / "episodes.jsonl").read_bytes() == (whole.directory / "episodes.jsonl").read_bytes()
