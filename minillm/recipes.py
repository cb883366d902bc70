"""Settings of the main job for each environment: what ``minillm train ENV`` takes where the user says nothing.

The defaults of :class:`minillm.train_config.TrainConfig` are those of ``grid/empty-5``. One-step tasks with many strings, and tasks in
which success is rare, need much experience of the uniform policy and a fit to the best of it (``fit_best``): REINFORCE
raises what the policy does already, so a string that it never writes is never found.
"""

from __future__ import annotations

from typing import Any

from minillm.train_config import TrainConfig

RECIPES: dict[str, dict[str, Any]] = {
    "grid/frozenlake": {"collect_episodes": 40000, "fit_best": 0.2, "fit_by": "action", "improve_steps": 40},
    "grid/keydoor": {"collect_episodes": 6000, "fit_best": 0.05, "fit_steps": 800, "improve_steps": 80, "improve_episodes": 288},
    "text/bandit-3-3": {"collect_episodes": 2000, "fit_best": 0.03},
    "text/copy": {"collect_episodes": 20000, "fit_best": 0.02},
    "text/reverse": {"collect_episodes": 20000, "fit_best": 0.02},
    "text/sort": {"collect_episodes": 20000, "fit_best": 0.02},
    "text/dedup": {"collect_episodes": 20000, "fit_best": 0.02},
    "text/arith": {"collect_episodes": 5000, "fit_best": 0.05},
    "text/countdown": {"collect_episodes": 60000, "fit_best": 0.01, "fit_steps": 2000},
    "code/rpn": {"collect_episodes": 20000, "fit_best": 0.01},
    "code/robot": {"collect_episodes": 20000, "fit_best": 0.02},
    "generate/grammar": {"collect_episodes": 4000, "fit_best": 0.1},
    "translate/lexicon": {"collect_episodes": 20000, "fit_best": 0.01, "improve_steps": 40, "improve_episodes": 192},
    "dialogue/slots": {"collect_episodes": 4000, "fit_best": 0.25},
    "dialogue/slots-observed": {"collect_episodes": 4000, "fit_best": 0.1, "improve_steps": 40},
    "adventure/rooms": {"collect_episodes": 2000, "fit_best": 0.15, "improve_steps": 40},
    "gymnasium:FrozenLake-v1": {"collect_episodes": 4000, "fit_best": 0.02, "improve_steps": 40},
    "gymnasium:MiniGrid-Empty-5x5-v0": {"collect_episodes": 1000, "fit_best": 0.1, "improve_steps": 40},
}


def configure(options: dict[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """Return the configuration of a run, and the settings in it that come from the environment's recipe.

    Parameters
    ----------
    options : dict
        Fields of :class:`minillm.train_config.TrainConfig` that the user chose; they come before the recipe's.

    Raises
    ------
    UserError
        If a value is out of range.
    """
    recipe = RECIPES.get(options.get("env", TrainConfig.env), {})
    taken = {name: value for name, value in recipe.items() if name not in options}
    return TrainConfig(**taken, **options), taken


def as_options(settings: dict[str, Any]) -> str:
    """Return settings as they are written on the command line."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())
