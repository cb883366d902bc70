r"""Each estimator on four episodes, and by enumeration: the coefficient of every token, and how far $E[\hat g]$ is from $\nabla J$."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import CodeType
from typing import Any

import numpy as np

from minillm import estimators
from minillm.estimators import ESTIMATORS, Estimator
from minillm.estimators.kl import kl_penalty
from minillm.lab.estimators import Row, row
from minillm.lab.setting import Setting, settings
from minillm.lessons.tables import facts, text_columns

PARTS = ("minillm.estimators.advantages", "minillm.estimators.forms", "minillm.estimators.weights", "minillm.returns")
EPISODES, GROUP = np.array([0, 1, 6, 13]), 2  # lengths 1, 2, 3, 3


def makers() -> dict[str, Callable[..., Estimator]]:
    """Return, for each registered estimator, the function that makes it."""
    made: dict[str, Callable[..., Estimator]] = {}
    for info in pkgutil.iter_modules(estimators.__path__):
        module = importlib.import_module(f"{estimators.__name__}.{info.name}")
        for function in vars(module).values():
            if getattr(function, "__module__", "") == module.__name__ and _makes_an_estimator(function):
                made.setdefault(function().name, function)
    return {name: made.get(name, kl_penalty) for name in ESTIMATORS}


def _makes_an_estimator(function: Any) -> bool:
    if not inspect.isfunction(function) or function.__annotations__.get("return") != "Estimator":
        return False
    return all(p.default is not p.empty for p in inspect.signature(function).parameters.values())


def parts_of(make: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """Return the functions of ``PARTS`` that the function which makes an estimator calls, itself or by a helper."""
    found: dict[Callable[..., Any], None] = {}
    for name in _names(make.__code__):
        function = make.__globals__.get(name)
        if not inspect.isfunction(function) or function is make:
            continue
        if function.__module__ in PARTS:
            found[function] = None
        elif function.__module__ == make.__module__:
            found |= dict.fromkeys(parts_of(function))
    return tuple(found)


def _names(code: CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return [*code.co_names, *inner]


def card(estimator: Estimator) -> str:
    """Return what an estimator estimates, its coefficient, its source and what it needs."""
    needs = {"needs, besides": ", ".join(estimator.needs)} if estimator.needs else {}
    return facts({"estimates": estimator.objective, "coefficient": estimator.formula, "source": estimator.source, **needs})


def live(estimator: Estimator) -> str:
    """Run an estimator on a few episodes, and measure what its label says by enumeration."""
    setting = settings()[0]
    bed = setting.bed
    return "\n\n".join([
        f"A policy writes texts of at most {bed.mask.shape[1]} of {bed.vocab_size} tokens; token 0 ends the text; {len(bed.chance)} texts "
        f"are possible.\nFour of them as one batch, ĝ = Σ c[i,t]·∇ℓ[i,t]:",
        _coefficients(setting, estimator),
        f"Everything that can be sampled, by enumeration (groups of {GROUP}):",
        _measured(row(estimator, [setting], GROUP)),
    ])  # fmt: skip


def _coefficients(setting: Setting, estimator: Estimator) -> str:
    """The episodes, a line each, with their coefficients; also as episodes of an older policy where that makes a difference."""
    bed = setting.bed
    own, old = (estimator.coefficients(s.batch(EPISODES, estimator.needs)) for s in (setting, setting.sampled_from_old()))
    columns = {"c, all ρ = 1": own, "c, an older policy's episodes": old}
    if np.allclose(own, old, rtol=1e-12):
        columns = {"c of its tokens": own}
    if estimator.dense:
        columns = {"C of the first token, over the vocabulary": own[:, 0]}
    texts: dict[str, list[str]] = {"tokens": [], "rewards": [], "R": [], **{name: [] for name in columns}}
    for i, episode in enumerate(EPISODES):
        here = bed.mask[episode]
        texts["tokens"].append(" ".join(map(str, bed.tokens[episode, here])))
        texts["rewards"].append(_numbers(bed.rewards[episode, here]))
        texts["R"].append(_numbers(bed.returns[[episode]]))
        for name, c in columns.items():
            texts[name].append(_numbers(c[i] if estimator.dense else c[i, here]))
    return text_columns(texts)


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{x + 0.0:7.4f}" for x in np.round(values, 4))


def _measured(found: Row) -> str:
    label = {} if found.bias is None else {f"E[ĝ] against its label, {found.objective}": f"relative error {found.bias:.1e}"}
    if found.asymmetry is not None:
        label["asymmetry of the Jacobian of E[ĝ]"] = f"{found.asymmetry:.4f}: not 0, so E[ĝ] is the gradient of no function"
    return facts({
        **label, "E[ĝ] against ∇J": f"‖E[ĝ] − ∇J‖/‖∇J‖ = {found.error:.3g}, cosine {found.cosine:.4f}",
        "variance, per episode": found.variance, "chance that a batch teaches nothing": found.dead,
    })  # fmt: skip
