"""A study is a grid of runs; what is wrong with one is told in a line that names the key, before the first run."""

import dataclasses
import json

import numpy as np
import pytest

from minillm.errors import RunDirectoryError, UserError
from minillm.run import Run
from minillm.study import Study, make_study, read_seeds, read_study, resume_study, run_study, train_once
from minillm.train_config import TrainConfig

SMALL = {"n_embd": 8, "n_head": 2, "collect_episodes": 16, "fit_steps": 2, "improve_steps": 2, "improve_episodes": 16}
GRID = {"env": "text/bandit-2-1", "estimator": ["rloo", "reinforce"], "seeds": "3:5", **SMALL}


@pytest.mark.parametrize(
    ("given", "seeds"),
    [("0:4", [0, 1, 2, 3]), ("7:9", [7, 8]), (3, [0, 1, 2]), ("3", [0, 1, 2]), ("5,3", [5, 3]), ([5, 3], [5, 3]), ([4], [4])],
)
def test_seeds(given, seeds):
    assert read_seeds(given) == seeds


@pytest.mark.parametrize("given", ["", "0", 0, "3:3", "4:3", "a", "0:2:4", "-1:3", [1, 1], [1.5], ["x"], [], None, True, 1.0, "0:9999999"])
def test_bad_seeds_are_one_line(given):
    with pytest.raises(UserError, match=r"^seeds [^\n]*$"):
        read_seeds(given)


def test_the_grid_is_every_combination_with_every_seed():
    study = make_study({**GRID, "improve_lr": [1e-2, 1], "env_options": {"weight": [0, 0.5]}})
    assert study.shown() == ["env", "estimator", "improve_lr", "env_options.weight"]
    assert len(study.settings()) == 8
    keys = ["env=text/bandit-2-1", "estimator=rloo", "improve_lr=0.01", "env_options.weight=0", "seed=3"]
    assert study.key(study.settings()[0], 3) == " ".join(keys)
    jobs = make_study(GRID).jobs()
    assert list(jobs) == [f"env=text/bandit-2-1 estimator={name} seed={seed}" for name in ("rloo", "reinforce") for seed in (3, 4)]
    config = TrainConfig(env="text/bandit-2-1", estimator="reinforce", seed=4, **SMALL)
    assert list(jobs.values())[-1] == dataclasses.asdict(config)
    assert json.loads(json.dumps(jobs)) == jobs


def test_recipes_hold_in_studies_too():
    (config,) = make_study({"env": "text/bandit-3-3", "seeds": 1}).jobs().values()
    assert config["fit_best"] == 0.03


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"improve_lrs": 1}, "no key 'improve_lrs'; near it: improve_lr"),
        ({"seed": 1}, "no key 'seed'; near it: seeds"),
        ({"save_coefficients": True}, "no key 'save_coefficients'"),
        ({"improve_lr": "fast"}, "improve_lr must be float or int, or a list of such, got 'fast'"),
        ({"improve_lr": [0.1, float("nan")]}, "improve_lr"),
        ({"improve_steps": 1.5}, "improve_steps must be int"),
        ({"improve_steps": [True]}, "improve_steps must be int"),
        ({"improve_steps": []}, "improve_steps must have values"),
        ({"improve_lr": [1, 1.0]}, "improve_lr must have values, each once"),
        ({"estimator": [["rloo"]]}, "estimator must be str"),
        ({"env_options": 3}, "env_options must be a table"),
        ({"env_options": {"slip": [{}]}}, "env_options.slip"),
        ({"improve_steps": 0}, "improve_steps must be at least 1"),
        ({"estimator": ["rloo", "rlo"]}, "no estimator 'rlo'"),
        ({"n_head": 3, "n_embd": 8}, "n_embd"),
        ({"env": "text/nothing"}, "text/nothing"),
        ({"env_options": {"ice": 1}}, "ice"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named_before_anything_is_written(tmp_path, options, told):
    with pytest.raises(UserError, match=r"^[^\n]*$") as raised:
        run_study(make_study({**GRID, **options}), tmp_path / "study", "serial", quiet=True)
    assert told in str(raised.value)
    assert not (tmp_path / "study").exists()


def test_a_toml_file_is_a_study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text('env = "grid/frozenlake"\nseeds = "0:3"\nimprove_lr = [1e-3, 1e-2]\n[env_options]\nslip = [0, 0.1]\n')
    study = make_study(read_study(path))
    assert study == Study(
        {"env": ["grid/frozenlake"], "estimator": ["state_rloo"], "improve_lr": [0.001, 0.01], "env_options.slip": [0, 0.1]}, [0, 1, 2]
    )
    path.write_text("env = \n")
    with pytest.raises(UserError, match=r"study.toml is not TOML: [^\n]*line 1"):
        read_study(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match="is not TOML"):
        read_study(path)
    with pytest.raises(UserError, match=r"cannot read .*: No such file"):
        read_study(tmp_path / "nowhere.toml")


def test_mutated_files_are_a_study_or_one_line(tmp_path):
    text = b'env = "text/bandit-2-1"\nseeds = "0:3"\nestimator = ["rloo"]\nimprove_lr = [1e-3, 1e-2]\nn_embd = 8\n[env_options]\na = [1, 2]\n'
    path, rng, fine = tmp_path / "study.toml", np.random.default_rng(0), 0
    for _ in range(2000):
        data = bytearray(text)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(data)))
            data[at : at + int(rng.integers(3))] = bytes(rng.choice(list(b'="[]{},.:0123eabc\n\x00\xff'), size=rng.integers(3)).tolist())
        path.write_bytes(data)
        told = complaint(path)
        assert "\n" not in told
        fine += told == ""
    assert 100 < fine < 1900


def complaint(path):
    try:
        make_study(read_study(path))
    except UserError as error:
        return str(error)
    return ""


def test_a_run_of_a_study_is_the_run_of_train(tmp_path):
    study = make_study(GRID)
    outcome = run_study(study, tmp_path / "study", "serial", quiet=True)
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["config.json", "journal.jsonl"]
    (tmp_path / "run").mkdir()
    run = Run(TrainConfig(env="text/bandit-2-1", estimator="reinforce", seed=4, **SMALL), tmp_path / "run", quiet=True)
    summary = run.execute()
    result = outcome.results["env=text/bandit-2-1 estimator=reinforce seed=4"]
    assert result == {"exact": summary["exact"], "episodes": summary["episodes"], "curve": [list(point) for point in run.curve]}


def test_a_study_is_gone_on_with_and_contradictions_are_named(tmp_path, monkeypatch):
    folder = tmp_path / "study"
    study = make_study(GRID)
    first = run_study(study, folder, "serial", quiet=True)
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:30])
    assert resume_study(folder, {}) == study
    assert resume_study(folder, GRID, complete=True) == study
    done = []

    def train(config):
        done.append(config["seed"])
        return train_once(config)

    with monkeypatch.context() as patch:
        patch.setattr("minillm.study.train_once", train)
        assert run_study(study, folder, "serial", resume=True, quiet=True) == first
    assert done == [3, 4]
    for options, told in [
        ({"seeds": "3:6"}, "seeds is [3, 4] in"), ({"estimator": "rloo"}, "estimator is ['rloo', 'reinforce'] in"),
        ({"improve_lr": 0.1}, "does not say improve_lr"), ({"improve_steps": 3}, "improve_steps is [2] in"),
    ]:  # fmt: skip
        with pytest.raises(RunDirectoryError) as raised:
            resume_study(folder, options)
        assert told in str(raised.value)
    with pytest.raises(RunDirectoryError, match=r"n_embd is .* left out"):
        resume_study(folder, {name: value for name, value in GRID.items() if name != "n_embd"}, complete=True)
    with pytest.raises(RunDirectoryError, match="already holds"):
        run_study(study, folder, "serial", quiet=True)
    again = run_study(study, folder, "serial", overwrite=True, quiet=True)
    assert again == first


def test_what_is_no_study_is_said(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"config.json"):
        resume_study(tmp_path, {})
    (tmp_path / "config.json").write_text('{"env": "grid/empty-5", "seed": 0}')
    with pytest.raises(RunDirectoryError, match="not of a study"):
        resume_study(tmp_path, {})
    fine = {"env": "text/bandit-2-1", "estimator": "rloo", "seeds": 1}
    for wrong in ({"env": 3}, {"estimator": []}, {"seeds": None}, {"env_options.x": {}}, {"x.y": 1}):
        (tmp_path / "config.json").write_text(json.dumps(fine | wrong))
        with pytest.raises(UserError, match=r"^[^\n]*$"):
            resume_study(tmp_path, {})


def test_an_interrupted_study_says_how_to_go_on(tmp_path, monkeypatch):
    def train(config):
        if config["seed"] == 4:
            raise KeyboardInterrupt
        return train_once(config)

    monkeypatch.setattr("minillm.study.train_once", train)
    with pytest.raises(KeyboardInterrupt, match=r"minillm study --resume .*study goes on"):
        run_study(make_study(GRID), tmp_path / "study", "serial", quiet=True)
    assert len((tmp_path / "study" / "journal.jsonl").read_text().splitlines()) == 1
