"""Errors that a user can cause. The command line prints each as one line and exits with status 2."""

import math
import numbers

ON_NONFINITE = ("stop", "skip")  # what a run does when a loss or a gradient is not finite


class UserError(ValueError):
    """Something given from outside is wrong; the message says what, where, and what was expected."""


class TokenizerError(UserError):
    """A text that the vocabulary cannot spell, or an id that the vocabulary does not have."""


class CheckpointError(UserError):
    """A checkpoint that is truncated, foreign, or does not fit the model."""


class RunDirectoryError(UserError):
    """An output directory that cannot be written or already holds a run, or a run that is not there."""


class NonFiniteError(UserError):
    """A loss, a gradient or a parameter that is not finite; the message names the array and the step."""


class WorkerError(UserError):
    """A call that failed on a worker, or lost its worker every time; the message has its error."""


class MissingExtra(UserError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install 'minillm-numpy[{extra}]'")


def require_integer(name: str, value: object, minimum: int) -> int:
    """Return ``value`` as an int of at least ``minimum``, or raise :class:`UserError` that names it."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise UserError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        raise UserError(f"{name} must be at least {minimum}, got {value}")
    return int(value)


def require_number(name: str, value: object) -> float:
    """Return ``value``, finite and at least 0, or raise :class:`UserError` that names it."""
    if isinstance(value, bool) or not isinstance(value, float | int) or not 0 <= value < math.inf:
        raise UserError(f"{name} must be a finite number of at least 0, got {value!r}")
    return value


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise :class:`UserError` that names ``name`` if ``value`` is none of the choices."""
    if value not in choices:
        raise UserError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
