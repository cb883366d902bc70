"""Text environments that are tables first and simulators second."""

from envs import bandit, grid
from envs.core import ResetNeeded, SimpleEnv, TextEnv, UnknownEnvironment, exact, ids, make, register
from envs.mdp import ExactMDP, Solution
from envs.vector import VectorEnv, make_vector

DISTRIBUTION = "minillm-numpy"  # a foreign package of the same name lacks this mark (see minillm.worlds)

__all__ = [
    "DISTRIBUTION", "ExactMDP", "ResetNeeded", "SimpleEnv", "Solution", "TextEnv", "UnknownEnvironment", "VectorEnv",
    "bandit", "exact", "grid", "ids", "make", "make_vector", "register",
]  # fmt: skip
