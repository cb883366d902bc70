"""All lessons by name, and how one is found."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from minillm import block, llama, llama_block, objectives, ops, transformer
from minillm.errors import UserError
from minillm.estimators import ESTIMATORS
from minillm.lab import differentiate
from minillm.lessons import estimators, models, operations
from minillm.lessons.code import code_of, place_of
from minillm.lessons.prose import first_line, readable

OPERATIONS, MODEL, OBJECTIVES, INSTRUMENTS = "Operations", "Models", "Objectives", "Instruments"
WEIGHTED = (objectives.cross_entropy, objectives.weighted_log_likelihood)
GPT_CODE = (transformer.GPT.forward, transformer.GPT.backward, block.block, block.block_backward)
LLAMA_CODE = (llama.Llama.forward, llama.Llama.backward, llama_block.llama_block, llama_block.llama_block_backward)
ESTIMATED = "Estimators of a policy gradient, and what each one estimates"
ALIASES = {
    "block": "transformer", "gpt": "transformer", "gelu_erf": "gelu", "softmax": "log_softmax", "swish": "silu", "reinforce_loo": "rloo",
    "leave_one_out": "rloo", "ppo": "ppo_clip", "reinforce_plus_plus": "reinforce++", "complex": "complex_step",
    "complex_gradient": "complex_step", "bc": "behaviour_cloning", "kl": "kl_full",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Lesson:
    """A lesson: its text, its code, and what it shows when it is run.

    Attributes
    ----------
    name, kind, summary : str
    texts : tuple
        Modules and functions whose docstrings are the text.
    code : tuple of functions
    live : callable
        Returns what a run on a tiny input found.
    card : str
        What stands above the text.
    """

    name: str
    kind: str
    summary: str
    texts: tuple[Any, ...]
    code: tuple[Callable[..., Any], ...]
    live: Callable[[], str]
    card: str = ""

    def text(self) -> str:
        """Return the lesson as text; its code, with the numbers of the equations that the lines compute; and its live run."""
        documents = [f"{place_of(thing)}\n\n{readable(inspect.getdoc(thing) or '')}" for thing in self.texts]
        codes = [f"{place_of(function)}\n\n{code_of(function)}" for function in self.code]
        title = f"{self.name}: {self.summary}" if self.kind != ESTIMATED else self.name
        parts = [_title(title), self.card, *documents, _title("Code"), *codes, _title("Live"), self.live()]
        return "\n\n".join(part for part in parts if part)


@cache
def lessons() -> dict[str, Lesson]:
    """Return all lessons in the order of the list."""
    made = [_operation(name) for name in operations.names()]
    made.append(_lesson("transformer", MODEL, transformer, (transformer, block), GPT_CODE, models.transformer))
    made.append(_lesson("llama", MODEL, llama, (llama, llama_block), LLAMA_CODE, models.llama))
    made += [
        _lesson(
            "cross_entropy", OBJECTIVES, objectives.cross_entropy, (objectives, objectives.cross_entropy), WEIGHTED,
            models.cross_entropy_on_two,
        ),
        _objective("expected_reward", models.set_and_sample),
        _objective("reinforce", models.surrogate_of_no_meaning),
        _lesson("complex_step", INSTRUMENTS, differentiate, (differentiate,), (differentiate.complex_step,), models.steps_compared),
    ]  # fmt: skip
    by_name = {lesson.name: lesson for lesson in made}
    return by_name | {name: _estimator(name) for name in ESTIMATORS if name not in by_name}


def find(name: str) -> Lesson:
    """Return the lesson of that name.

    Raises
    ------
    UserError
        If there is none; the message names those that are near.
    """
    known = lessons()
    key = name.strip().lower().replace("-", "_").replace(" ", "_").removesuffix("_backward")
    key = ALIASES.get(key, key)
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key, [*known, *ALIASES], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "minillm explain lists them"
    raise UserError(f"there is no lesson {name!r}: {hint}")


def contents() -> str:
    """Return the list of lessons, a line each."""
    lines: list[str] = []
    known = lessons().values()
    width = max(len(lesson.name) for lesson in known)
    for kind in dict.fromkeys(lesson.kind for lesson in known):
        lines += ["", kind, *(f"  {lesson.name:{width}}  {lesson.summary}" for lesson in known if lesson.kind == kind)]
    return "\n".join([*lines[1:], "", "minillm explain NAME prints the lesson and runs it on a tiny input."])


def _title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}"


def _lesson(name: str, kind: str, summary_of: Any, texts: tuple, code: tuple, live: Callable[[], str], card: str = "") -> Lesson:
    summary = first_line(inspect.getdoc(summary_of) or "").removeprefix("Return ")
    return Lesson(name, kind, summary, texts, code, live, card)


def _operation(name: str) -> Lesson:
    op, backward = getattr(ops, name), getattr(ops, f"{name}_backward")
    module = importlib.import_module(op.__module__)
    helpers = (f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__ and f.__name__[0] == "_")
    return _lesson(name, OPERATIONS, module, (module, op), (op, backward, *helpers), lambda: operations.live(name))


def _objective(name: str, live: Callable[[], str]) -> Lesson:
    """The objective over a set or a sample, together with the estimator of the same name."""
    function, estimator = getattr(objectives, name), _estimator(name)
    return _lesson(
        name, OBJECTIVES, function, (objectives, function, *estimator.texts), (function, WEIGHTED[1], *estimator.code),
        lambda: f"{live()}\n\n{estimator.live()}", estimator.card,
    )  # fmt: skip


def _estimator(name: str) -> Lesson:
    estimator, make = ESTIMATORS[name], estimators.makers()[name]
    texts = (make, importlib.import_module(make.__module__))
    return Lesson(
        name, ESTIMATED, estimator.objective, texts, (make, *estimators.parts_of(make)), lambda: estimators.live(estimator),
        estimators.card(estimator),
    )  # fmt: skip
