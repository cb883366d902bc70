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
        If there is no such environment (the message names the nearest ids), a number in the id or an option is out of range, it
        has no table, or it needs a package that is not installed.
    """
    try:
        return load_envs().exact(id, **options)
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(str(error)) from None


def find(id: str, **options: Any) -> Any:
    """Return the table of an environment, or a :class:`minillm.played_world.PlayedWorld` where there is none.

    Raises
    ------
    UserError
        As :func:`exact`; where there is no table, only if the environment does not list its actions.
    """
    from minillm.played_world import PlayedWorld

    envs = load_envs()
    try:
        built = envs.build(id, **options)
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(str(error)) from None
    return built if has_table(built) else PlayedWorld(id, lambda: envs.make(id, **options))


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
