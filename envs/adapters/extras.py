"""Import an optional package, or say how to get it."""

from importlib import import_module
from typing import Any


def need(module: str, extra: str) -> Any:
    """Return an optional module.

    Raises
    ------
    ImportError
        If it is not installed; the message names the extra to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} is not installed: pip install 'minillm-numpy[{extra}]'") from error


def open_named(id: str, name: str, **options: Any) -> Any:
    """Return `gymnasium.make(name, **options)`; a name or an option that Gymnasium refuses is a ValueError."""
    gymnasium = need("gymnasium", "gym")
    try:
        return gymnasium.make(name, **options)
    except (gymnasium.error.Error, TypeError, KeyError) as error:
        raise ValueError(f"{id}{options or ''} cannot be made: {' '.join(str(error).split())}") from None
