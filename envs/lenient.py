"""An opt-in wrapper that accepts a published, finite list of other spellings."""

from collections.abc import Mapping
from typing import Any


class Lenient:
    """An environment in which each key of `aliases` means its value; every other string means what it meant.

    Parameters
    ----------
    env : an environment with reset and step
    aliases : mapping from spelling to canonical action string, published as the attribute `aliases`
    """

    def __init__(self, env: Any, aliases: Mapping[str, str]):
        numbers = env.mdp.action_numbers
        for alias, action in aliases.items():
            if action not in numbers or alias in numbers:
                raise ValueError(f"alias {alias!r} -> {action!r}: needs a new spelling of a canonical action")
        self.env, self.aliases = env, dict(aliases)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict]:
        """Play an action or an alias of one."""
        return self.env.step(self.aliases.get(action, action) if isinstance(action, str) else action)
