"""The package ``envs`` of this distribution, and not another of the same name that stands before it on the path."""

from __future__ import annotations

import types
from typing import Any

from minillm.errors import UserError


def load_envs() -> types.ModuleType:
    """Import ``envs`` and return it.

    Raises
    ------
    UserError
        If a foreign package named ``envs`` shadows ours; the message says where it lies.
    """
    import envs

    if getattr(envs, "DISTRIBUTION", None) != "minillm-numpy":
        where = getattr(envs, "__file__", None) or next(iter(getattr(envs, "__path__", ["?"])))
        raise UserError(
            f"the package 'envs' at {where} is not the one of minillm-numpy and shadows it; run from another directory or "
            f"remove it from sys.path"
        )
    return envs


def exact(id: str, **options: Any) -> Any:
    """Return the table of an environment; see :func:`envs.exact`.

    Raises
    ------
    UserError
        If there is no such environment (the message names the nearest ids), or a number in the id or an option is out of range.
    """
    try:
        return load_envs().exact(id, **options)
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from None


def title(id: str, options: dict[str, Any]) -> str:
    """Return the id of an environment with its options, as in ``grid/frozenlake(slip=0)``."""
    return id + (f"({', '.join(f'{name}={value}' for name, value in options.items())})" if options else "")
