import numpy as np

from minillm.lab.step_sizes import STEPS, step_errors


def test_the_complex_step_has_no_step_to_choose_and_differences_have():
    errors = step_errors()
    small = STEPS <= 1e-9
    assert errors["complex step"][small].max() < 1e-13
    for name, best in (("forward difference", 1e-9), ("central difference", 1e-12), ("five-point difference", 1e-14)):
        assert best < np.nanmin(errors[name][STEPS < 0.1]) < 1e-5
        assert errors[name][STEPS < 1e-18].min() > 0.1
