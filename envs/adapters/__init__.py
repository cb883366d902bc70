"""Doors to other people's environments; each needs its package only when it is called."""

from envs.adapters.foreign import from_gymnasium, from_reasoning_gym, from_textworld
from envs.adapters.gymnasium_tables import kernel_from_gymnasium, table_by_copying
from envs.adapters.lockstep import Lockstep
from envs.adapters.presets import from_id
from envs.adapters.to_gymnasium import register_gymnasium, to_gymnasium, to_gymnasium_vector

__all__ = [
    "Lockstep",
    "from_gymnasium",
    "from_id",
    "from_reasoning_gym",
    "from_textworld",
    "kernel_from_gymnasium",
    "register_gymnasium",
    "table_by_copying",
    "to_gymnasium",
    "to_gymnasium_vector",
]
