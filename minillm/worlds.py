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


def find(id: str, **options: Any) -> Any:
    """Return the table of an environment, or a :class:`minillm.played_world.PlayedWorld` where there is none.

    Raises
    ------
    UserError
        As :func:`exact`; or if there is no table and the environment does not list its actions.
    """
    try:
        return exact(id, **options)
    except UserError as error:
        if "has no exact table" not in str(error):
            raise
    from minillm.played_world import PlayedWorld

    return PlayedWorld(id, lambda: load_envs().make(id, **options))


def has_table(world: Any) -> bool:
    """Say whether what :func:`find` returned is a table."""
    return isinstance(world, load_envs().ExactMDP)


def require_table(world: Any) -> None:
    """Raise :class:`UserError` if a world has no table."""
    if not has_table(world):
        raise UserError(f"{world.id} has no exact table, and so no exact values")


def batch(world: Any, n: int, seed: int, part: int = 0) -> Any:
    """Return n environments of a world, at rest; see :meth:`minillm.played_world.PlayedWorld.batch`."""
    return load_envs().VectorEnv(world, n, seed, autoreset="disabled") if has_table(world) else world.batch(n, seed, part)


def single(world: Any, seed: int) -> Any:
    """Return one environment of a world."""
    return load_envs().TextEnv(world, seed) if has_table(world) else world.single(seed)


def title(id: str, options: dict[str, Any]) -> str:
    """Return the id of an environment with its options, as in ``grid/frozenlake(slip=0)``."""
    return id + (f"({', '.join(f'{name}={value}' for name, value in options.items())})" if options else "")
