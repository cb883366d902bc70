"""Grading: a kill matrix says what was rejected, and a function with a memory is the same function."""

import numpy as np

from minillm.lab.mutants.core import Mutant, Problem, remembered, score

PROBLEM = Problem(lambda x: (x**2).sum(), lambda x: 2 * x, np.array([1.0, 2.0]))
MUTANTS = [
    Mutant("wrong", "half", PROBLEM, lambda x: x),
    Mutant("right", "the same", PROBLEM, lambda x: x + x, equivalent=True),
]


def test_the_relative_error_is_that_of_the_vectors():
    assert [m.relative_error() for m in MUTANTS] == [0.5, 0.0]


def test_a_credulous_and_a_grumpy_checker_are_told_apart():
    matrices = score({"yes": lambda *_: True, "no": lambda *_: False}, MUTANTS, draws=3, seed=0)
    assert (matrices["yes"].survivors, matrices["yes"].false_alarms) == (["wrong"], [])
    assert (matrices["no"].survivors, matrices["no"].false_alarms) == ([], ["right"])


def test_a_kill_in_some_draws_is_not_a_kill():
    seen = []
    matrix = score({"coin": lambda f, g, x, rng: rng.random() < 0.5}, MUTANTS, draws=20, seed=0, on_mutant=seen.append)["coin"]
    assert 0 < matrix.killed.mean() < 1
    assert (matrix.survivors, matrix.false_alarms) == (["wrong"], ["right"])
    assert seen == MUTANTS


def test_a_remembered_function_computes_each_point_once():
    calls = []
    f = remembered(lambda x: calls.append(x) or x.sum())
    x = np.array([1.0, 2.0])
    assert f(x) == f(x.copy()) == 3
    assert f(x + 0j) == 3
    assert f(x + 1) == 5
    assert len(calls) == 3
