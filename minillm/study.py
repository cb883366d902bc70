"""Studies: ``minillm train`` for every combination of environments, options and seeds, on an executor.

A study is a grid: each option of a run has one value or several, and every combination is run with every seed. A run is a job of
:mod:`minillm.jobs`: it gives its exact values and its curve, and leaves no files. ``minillm train`` with the same options and
seed is the same run to the last bit.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import math
import re
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from minillm import checkpoint, recipes
from minillm.errors import RunDirectoryError, UserError
from minillm.executors import executor
from minillm.jobs import Outcome, run_jobs
from minillm.resuming import read_config, require_agreement
from minillm.run import Run
from minillm.train_config import TrainConfig
from minillm.worlds import require_table

NOT_STUDIED = ("seed", "env_options", "save_coefficients")  # seeds and env_options are keys of their own
TYPES = {field.name: str(field.type).split(" | ")[0] for field in dataclasses.fields(TrainConfig) if field.name not in NOT_STUDIED}
KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "str": (str,), "bool": (bool,)}


@dataclasses.dataclass(frozen=True)
class Study:
    """A grid of runs.

    Attributes
    ----------
    axes : dict of str to list
        The values of each option that was given, ``env`` and ``estimator`` always; those of the environment are called
        ``env_options.NAME``.
    seeds : list of int
    """

    axes: dict[str, list[Any]]
    seeds: list[int]

    def settings(self) -> list[dict[str, Any]]:
        """Return every combination of the axes, the last axis fastest."""
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Return the whole configuration of each run under its key, as in ``env=grid/empty-5 estimator=rloo seed=3``.

        Raises
        ------
        UserError
            If a combination cannot be trained.
        """
        return {
            self.key(setting, seed): dataclasses.asdict(_configuration(setting, seed)) for setting in self.settings() for seed in self.seeds
        }

    def shown(self) -> list[str]:
        """Return the axes that tell runs apart: environment and estimator, and those with several values."""
        return [name for name, values in self.axes.items() if len(values) > 1 or name in ("env", "estimator")]

    def key(self, setting: Mapping[str, Any], seed: int) -> str:
        """Return the key of a run."""
        return " ".join([*(f"{name}={setting[name]}" for name in self.shown()), f"seed={seed}"])

    def as_config(self) -> dict[str, Any]:
        """Return what ``config.json`` holds."""
        return {**self.axes, "seeds": self.seeds}


def make_study(options: Mapping[str, Any]) -> Study:
    """Return the study that options describe.

    Parameters
    ----------
    options : mapping
        ``seeds``: ``"0:20"``, a number of seeds or a list of them; ``env_options``: a mapping; any option of
        :class:`minillm.train_config.TrainConfig`; each with one value or a list of values.

    Raises
    ------
    UserError
        If a key or a value is wrong; the message names the key.
    """
    given = {"env": TrainConfig.env, "estimator": TrainConfig.estimator, **options}
    seeds = read_seeds(given.pop("seeds", 1))
    env_options = given.pop("env_options", {})
    if not isinstance(env_options, Mapping):
        raise UserError(f"env_options must be a table of options, got {env_options!r}")
    axes = {name: _values(name, value, KINDS[_type(name)]) for name, value in given.items()}
    every = (bool, int, float, str)
    axes |= {f"env_options.{name}": _values(f"env_options.{name}", value, every) for name, value in env_options.items()}
    return Study(axes, seeds)


def read_seeds(given: Any) -> list[int]:
    """Return the seeds that ``"0:20"``, ``20``, ``"20"``, ``"3,5"`` or ``[3, 5]`` stand for.

    Raises
    ------
    UserError
        If there are none, or one is listed twice or is no integer of at least 0.
    """
    text = str(given).strip("[]").replace(" ", "") if isinstance(given, (str, int, list)) and not isinstance(given, bool) else ""
    span = re.fullmatch(r"(\d{1,18}):(\d{1,18})", text)
    if span and int(span[2]) - int(span[1]) > 1_000_000:
        raise UserError(f"seeds {given!r} are more than a million")
    if span:
        seeds = list(range(int(span[1]), int(span[2])))
    elif re.fullmatch(r"\d{1,6}", text) and not isinstance(given, list):
        seeds = list(range(int(text)))
    elif re.fullmatch(r"\d{1,18}(,\d{1,18})*", text):
        seeds = [int(number) for number in text.split(",")]
    else:
        seeds = []
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds must be as in 0:20, or 20, or 3,5,7, each once, got {given!r}")
    return seeds


def read_study(path: Path) -> dict[str, Any]:
    """Return the options in a TOML file.

    Raises
    ------
    UserError
        If it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is a ValueError
        raise UserError(f"{path} is not TOML: {error}") from None


def train_once(config: dict[str, Any]) -> dict[str, Any]:
    """Train as ``config`` says and return the exact values, the number of episodes and the curve. Files are deleted."""
    with tempfile.TemporaryDirectory(prefix="minillm-study-") as folder:
        chosen = TrainConfig(**config)
        run = Run(chosen, checkpoint.prepare_directory(Path(folder), config=config), quiet=True)
        require_table(run.mdp)
        summary = run.execute()
    return {"exact": summary["exact"], "episodes": summary["episodes"], "curve": run.curve}


def run_study(
    study: Study,
    directory: Path,
    where: str | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Run what the directory does not hold yet, and return the results in the order of the grid.

    Parameters
    ----------
    study : Study
    directory : Path
        Gets ``config.json`` and ``journal.jsonl``.
    where : str, optional
        See :func:`minillm.executors.executor`.
    resume : bool
        Go on in a directory of this study.
    overwrite : bool
        Delete the study that the directory holds.
    quiet : bool

    Raises
    ------
    UserError
        If a run of the grid cannot be trained (before the first), the directory is in use, or it holds another study.
    KeyboardInterrupt
        If interrupted; the study can then be resumed.
    """
    jobs = study.jobs()
    for setting in study.settings():
        Run(_configuration(setting, study.seeds[0]), directory, quiet=True)  # no files yet: a wrong option is told before the first run
    make: Callable[[], Executor] = functools.partial(executor, where)
    if not resume:
        checkpoint.prepare_directory(directory, overwrite, study.as_config())
    try:
        return run_jobs(train_once, jobs, directory / "journal.jsonl", make, name="study", quiet=quiet)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"; minillm study --resume {directory} goes on") from None


def resume_study(directory: Path, options: Mapping[str, Any], complete: bool = False) -> Study:
    """Return the study of a directory.

    Parameters
    ----------
    directory : Path
    options : mapping
        What was asked for now, as for :func:`make_study`; it must agree with ``config.json``.
    complete : bool
        The options are meant to be all: what they leave out must not be there either.

    Raises
    ------
    RunDirectoryError
        If there is no study, or an option contradicts it; the message names the key.
    """
    saved = read_config(directory)
    if not {"env", "estimator", "seeds"} <= set(saved):
        raise RunDirectoryError(f"{directory / 'config.json'} is not of a study: it has not env, estimator and seeds")
    given = make_study({"env": saved["env"], "estimator": saved["estimator"], "seeds": saved["seeds"]} | dict(options)).as_config()
    require_agreement(saved, given, directory)
    for name in saved:
        if complete and name not in given:
            raise RunDirectoryError(f"{name} is {saved[name]!r} in {directory / 'config.json'}, and now it is left out")
    plain = {name: values for name, values in saved.items() if "." not in name}
    return make_study(plain | {"env_options": {name.partition(".")[2]: v for name, v in saved.items() if "." in name}})


def _configuration(setting: Mapping[str, Any], seed: int) -> TrainConfig:
    options: dict[str, Any] = {"seed": seed, "env_options": {}}
    for name, value in setting.items():
        owner, _, option = name.partition(".")
        if option:
            options[owner][option] = value
        else:
            options[name] = value
    return recipes.configure(options)[0]


def _type(name: str) -> str:
    if name not in TYPES:
        near = difflib.get_close_matches(name, [*TYPES, "seeds", "env_options"], n=3)
        raise UserError(f"a study has no key {name!r}" + (f"; near it: {', '.join(near)}" if near else ""))
    return TYPES[name]


def _values(name: str, given: Any, kinds: tuple[type, ...]) -> list[Any]:
    """The values of one axis, each of one of the kinds; whole numbers become floats where floats are wanted."""
    values = list(given) if isinstance(given, list) else [given]
    for value in values:
        if type(value) not in kinds or (isinstance(value, float) and not math.isfinite(value)):
            raise UserError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, or a list of such, got {value!r}")
    if kinds[0] is float:
        values = [float(value) for value in values]
    if not values or len({repr(value) for value in values}) < len(values):
        raise UserError(f"{name} must have values, each once, got {given!r}")
    return values
