"""The catalogue: every mutant is wrong, every control is right, no two are the same; and who catches them."""

import numpy as np
import pytest

from minillm import block, transformer
from minillm.lab import mutants
from minillm.lab.differentiate import complex_gradient
from minillm.lab.mutants import CATALOGUE, checkers
from minillm.lab.mutants import transformer as transformer_mutants

PROBLEMS = list({id(m.problem): m.problem for m in CATALOGUE}.values())


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_right_gradients_are_right(problem):
    expected = complex_gradient(problem.f, problem.theta)
    np.testing.assert_allclose(problem.gradient(problem.theta), expected, atol=1e-14 * np.abs(expected).max())


def test_there_are_at_least_sixty_mutants_and_all_have_names():
    assert sum(not m.equivalent for m in CATALOGUE) >= 60
    assert len({m.id for m in CATALOGUE}) == len(CATALOGUE)
    assert len({m.description for m in CATALOGUE if m.id.startswith("pg-")}) == sum(m.id.startswith("pg-") for m in CATALOGUE)


def test_mutants_are_wrong_and_controls_right():
    for mutant in CATALOGUE:
        error = mutant.relative_error()
        assert np.isfinite(error)
        assert error < 1e-14 if mutant.equivalent else error > 1e-9, mutant.id


def test_no_two_mutants_of_a_problem_are_the_same():
    known = {}
    for mutant in CATALOGUE:
        if not mutant.equivalent:
            gradient = mutant.gradient(mutant.problem.theta)
            same = [k for (k, problem), g in known.items() if problem == id(mutant.problem) and np.allclose(g, gradient, 1e-13, 0)]
            assert not same, f"{mutant.id} is {same}"
            known[mutant.id, id(mutant.problem)] = gradient


def test_a_replaced_backward_comes_back_even_after_an_error():
    def fails(dy, cache):
        raise ZeroDivisionError

    kept = block.linear_backward
    with pytest.raises(ZeroDivisionError):
        transformer_mutants.patched("block.linear_backward", fails)(transformer_mutants.CASE.theta)
    assert block.linear_backward is kept
    assert transformer.block_backward is block.block_backward


def test_one_complex_direction_kills_every_mutant_and_no_control():
    matrix = mutants.score(mutants.one_direction)
    assert matrix.killed.shape == (len(CATALOGUE), 20)
    assert matrix.survivors == []
    assert matrix.false_alarms == []


def test_that_the_loss_goes_down_shows_little():
    matrix = mutants.score(checkers.loss_goes_down, draws=1)
    wrong = sum(not m.equivalent for m in CATALOGUE)
    assert matrix.false_alarms == []
    assert len(matrix.survivors) > 0.9 * wrong
    assert "pg-sign" not in matrix.survivors
    assert "whole-zero" not in matrix.survivors


def test_the_table_has_a_line_for_each_mutant_and_the_totals():
    matrices = {"ours": mutants.score(mutants.one_direction, draws=2), "none": mutants.score(lambda *_: True, draws=1)}
    text = mutants.table(matrices)
    wrong = sum(not m.equivalent for m in CATALOGUE)
    controls = len(CATALOGUE) - wrong
    assert f"A  ours                         kills {wrong} of {wrong}, rejects 0 of {controls} controls" in text
    assert f"B  none                         kills 0 of {wrong}, rejects 0 of {controls} controls" in text
    assert len(text.splitlines()) == len(CATALOGUE) + 4
    row = mutants.rows(matrices)[0]
    assert row["killed"] == {"ours": 1.0, "none": 0.0}
    assert row["id"] == CATALOGUE[0].id


def test_a_wrong_gradient_is_recognised_even_if_it_is_only_partly_so():
    problem = transformer_mutants.PROBLEM
    right = problem.gradient(problem.theta)
    for mutant in transformer_mutants.CATALOGUE[::8]:
        if not mutant.equivalent:
            half = (right + mutant.gradient(problem.theta)) / 2
            assert mutants.resembling(half)[0] == mutant.id
    assert mutants.resembling(right + np.random.default_rng(0).normal(size=right.size)) == []
