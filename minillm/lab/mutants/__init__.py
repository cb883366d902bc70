"""The catalogue of wrong gradients, and the checkers that are graded by it."""

from minillm.lab.mutants import policy_catalogue, transformer, whole
from minillm.lab.mutants.core import Mutant

CATALOGUE: tuple[Mutant, ...] = (*transformer.CATALOGUE, *whole.CATALOGUE, *policy_catalogue.CATALOGUE)
