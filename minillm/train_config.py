"""What a run of ``minillm train`` depends on."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from minillm.errors import ON_NONFINITE, UserError, require_choice, require_integer, require_number
from minillm.estimators import Estimator, named
from minillm.evidence import REFERENCE, require_needs
from minillm.gradients import SHARDS
from minillm.imitation import RANKINGS
from minillm.sampling import Sampling

KINDS = {"str": str, "bool": bool, "dict[str, Any]": dict, "float | None": float | int | None, "str | None": str | None}
MAX_SHARDS = 1 << 12


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """What a run depends on; ``config.json`` holds it.

    Parameters
    ----------
    env : str
    env_options : dict
        Options of the environment, as for :func:`envs.make`.
    seed : int
    model : str, optional
        A GPT-2 checkpoint to start from, with its tokenizer: a directory in the Hugging Face layout, or a name in its local cache.
    n_embd, n_layer, n_head : int
        The transformer's size; with ``model``, that of the checkpoint, and ``initializer_range`` too.
    initializer_range : float
    collect_episodes : int
        Episodes of the uniform policy.
    fit_best : float
        The share of the steps taken in each state that the model is fitted to: those after which the most reward came
        (:func:`minillm.imitation.best_steps`); 1 is all.
    fit_by : str
        "step": by what came after each step; "action": by the mean of that over the steps with the same action.
    fit_steps, fit_batch_size, fit_lr
        The maximum-likelihood phase: AdamW, warm-up, cosine.
    improve_steps, improve_episodes, improve_lr
        The reinforcement phase: updates, episodes in each, and the rate (warm-up over a twentieth, then a cosine to a half).
    estimator : str
        A name in :data:`minillm.estimators.ESTIMATORS`, or several joined by ``+``.
    epochs : int
        Steps of the optimizer in each update.
    group : int
        Episodes of an update come in groups of this size that share their start.
    shards : int
        The episodes of an update are played in so many parts, each with random numbers of its own; as many workers can play them. The
        numbers of a run depend on it, and never on the workers.
    temperature, top_k, top_p
        The distribution that actions are drawn from, and that is differentiated and evaluated.
    save_coefficients : bool
        Write the coefficients of every update to ``coefficients.jsonl``.
    on_nonfinite : str
        What follows when a loss or a gradient is not finite: ``"stop"``, or ``"skip"`` that update and count it.

    Raises
    ------
    UserError
        If a number is out of range, there is no such estimator, or it needs what training does not have.
    """

    env: str = "grid/empty-5"
    env_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    model: str | None = None
    n_embd: int = 48
    n_layer: int = 2
    n_head: int = 4
    initializer_range: float = 0.1
    collect_episodes: int = 512
    fit_best: float = 1.0
    fit_by: str = "step"
    fit_steps: int = 400
    fit_batch_size: int = 32
    fit_lr: float = 4e-3
    improve_steps: int = 130
    improve_episodes: int = 384
    improve_lr: float = 1.4e-3
    estimator: str = "state_rloo"
    epochs: int = 1
    group: int = 1
    shards: int = SHARDS
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    save_coefficients: bool = False
    on_nonfinite: str = "stop"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                require_integer(field.name, value, 0 if field.name == "seed" else 1)
            elif field.type == "float":
                require_number(field.name, value)
            elif str(field.type) in KINDS and not isinstance(value, KINDS[str(field.type)]):
                raise UserError(f"{field.name} must be of type {field.type}, got {value!r}")
        require_choice("on_nonfinite", self.on_nonfinite, ON_NONFINITE)
        if self.improve_episodes % self.group:
            raise UserError(f"improve_episodes must be a multiple of group, got {self.improve_episodes} and {self.group}")
        if self.shards > MAX_SHARDS:
            raise UserError(f"shards must be at most {MAX_SHARDS}, got {self.shards}")
        require_choice("fit_by", self.fit_by, RANKINGS)
        if not 0 < self.fit_best <= 1:
            raise UserError(f"fit_best must be above 0 and at most 1, got {self.fit_best}")
        require_needs(self.method, value_head=True, reference=True)
        if not self.sampling.temperature > 0:
            raise UserError("a policy of temperature 0 has no gradient; train with a temperature above 0")

    @property
    def method(self) -> Estimator:
        """The estimator that ``estimator`` names."""
        return named(self.estimator)

    @property
    def sampling(self) -> Sampling:
        """The distribution that actions are drawn from."""
        return Sampling(self.temperature, self.top_k, self.top_p)

    @property
    def value_head(self) -> bool:
        """Whether the estimator needs values, and so the model a head for them."""
        return "values" in self.method.needs

    @property
    def reference(self) -> bool:
        """Whether the estimator compares with the policy as it was before the first update."""
        return bool(set(REFERENCE) & set(self.method.needs))


def read_options(pairs: list[str]) -> dict[str, Any]:
    """Return the options that ``["slip=0", "name=text"]`` spell: numbers, true, false and null as in JSON, all else as text.

    Raises
    ------
    UserError
        If one has no ``=``.
    """
    options = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise UserError(f"an option of an environment is written NAME=VALUE, got {pair!r}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        options[name] = text if isinstance(value, (list, dict)) else value
    return options
