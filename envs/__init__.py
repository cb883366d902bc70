"""Text environments that are tables first and simulators second."""

from envs import (
    adapters,
    adventure,
    arithmetic,
    bandit,
    dialogue,
    grammar,
    grid,
    keydoor,
    lakes,
    programs,
    strings,
    translation,
)  # fmt: skip
from envs.checking import CheckFailed, check
from envs.core import ResetNeeded, SimpleEnv, TextEnv, UnknownEnvironment, build, exact, ids, make, register
from envs.facts import cards
from envs.lenient import Lenient
from envs.mdp import ExactMDP, Solution
from envs.vector import VectorEnv, make_vector

DISTRIBUTION = "minillm-numpy"  # a foreign package of the same name lacks this mark (see minillm.worlds)

__all__ = [
    "DISTRIBUTION",
    "CheckFailed",
    "ExactMDP",
    "Lenient",
    "ResetNeeded",
    "SimpleEnv",
    "Solution",
    "TextEnv",
    "UnknownEnvironment",
    "VectorEnv",
    "adapters",
    "adventure",
    "arithmetic",
    "bandit",
    "build",
    "cards",
    "check",
    "dialogue",
    "exact",
    "grammar",
    "grid",
    "ids",
    "keydoor",
    "lakes",
    "make",
    "make_vector",
    "programs",
    "register",
    "strings",
    "translation",
]
