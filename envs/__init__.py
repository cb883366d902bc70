"""Text environments that are tables first and simulators second."""

from envs import bandit, grid
from envs.core import SimpleEnv, TextEnv, exact, ids, make, register
from envs.errors import EnvError, ResetNeeded, UnknownEnvironment
from envs.mdp import ExactMDP, Solution
from envs.vector import VectorEnv, make_vector

DISTRIBUTION = "minillm-numpy"  # a foreign package of the same name lacks this mark (see minillm.worlds)
DEFAULT = "grid/empty-5"

__all__ = [
    "DEFAULT", "DISTRIBUTION", "EnvError", "ExactMDP", "ResetNeeded", "SimpleEnv", "Solution", "TextEnv", "UnknownEnvironment",
    "VectorEnv", "bandit", "exact", "grid", "ids", "make", "make_vector", "register",
]  # fmt: skip
