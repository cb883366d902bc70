"""Each recipe is a valid configuration, is said on the command line as it stands, and does what it is for."""

import argparse
import json

import pytest

import envs
from minillm.cli import main
from minillm.commands import train
from minillm.errors import UserError
from minillm.recipes import RECIPES, as_options, configure
from minillm.train_config import TrainConfig


def parse(arguments):
    parser = argparse.ArgumentParser()
    train.add(parser.add_subparsers())
    return vars(parser.parse_args(["train", *arguments]))


@pytest.mark.parametrize("env", RECIPES)
def test_a_recipe_is_a_configuration_that_the_command_line_can_say(env):
    assert env in envs.ids() or env.startswith("gymnasium:")
    config, taken = configure({"env": env})
    assert taken == RECIPES[env] != {}
    assert config == TrainConfig(env=env, **RECIPES[env])
    assert config.env == env
    for name, value in taken.items():
        assert value != getattr(TrainConfig, name)
    assert parse([env, *as_options(taken).split()]).items() >= taken.items()


def test_what_the_user_says_comes_before_the_recipe():
    env = next(env for env, recipe in RECIPES.items() if "fit_best" in recipe and "collect_episodes" in recipe)
    config, taken = configure({"env": env, "fit_best": 0.5, "seed": 7})
    assert (config.fit_best, config.seed) == (0.5, 7)
    assert "fit_best" not in taken
    assert taken["collect_episodes"] == config.collect_episodes == RECIPES[env]["collect_episodes"]


def test_the_default_run_has_no_recipe():
    assert configure({}) == (TrainConfig(), {})
    assert configure({"env": "grid/empty-3"}) == (TrainConfig(env="grid/empty-3"), {})


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_out_of_range_is_one_line(share):
    with pytest.raises(UserError, match=r"fit_best must be (above 0 and at most 1|a finite number of at least 0)"):
        TrainConfig(fit_best=share)


def test_the_command_names_the_recipe_that_it_takes(tmp_path, capsys):
    small = ["--fit-steps=2", "--improve-steps=1", "--improve-episodes=4", "--n-embd=16", "--n-head=2"]
    assert main(["train", "text/bandit-3-3", *small, "--out", str(tmp_path / "run")]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert first == f"recipe of text/bandit-3-3: {as_options({k: saved[k] for k in ('collect_episodes', 'fit_best')})}"


@pytest.mark.slow
@pytest.mark.parametrize("env", ["text/bandit-3-3", "text/arith", "text/copy", "generate/grammar"])
def test_the_quick_recipes_reach_95_percent_of_the_optimum(env, tmp_path):
    assert main(["train", env, "--seed", "1", "--out", str(tmp_path / "run")]) == 0
    exact = json.loads((tmp_path / "run" / "summary.json").read_text())["exact"]
    assert exact["improve"] >= 0.95 * exact["optimal"]
    assert exact["optimal"] == envs.exact(env).solve().J
