import numpy as np
import pytest

from minillm import errors
from minillm.errors import MissingExtra, UserError, require_integer


def test_all_errors_of_a_user_are_one_family():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 5
    assert all(issubclass(kind, UserError) for kind in kinds)
    assert issubclass(UserError, ValueError)


def test_a_missing_extra_is_named():
    error = MissingExtra("curve.png", "matplotlib", "plot")
    assert str(error) == "curve.png needs matplotlib: pip install 'minillm-numpy[plot]'"


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_of_numpy_are_integers(value):
    assert require_integer("n", value, 3) == 3
    assert type(require_integer("n", value, 0)) is int


@pytest.mark.parametrize("value", [3.0, "3", None, True, np.float64(3), np.bool_(True), 3 + 0j])
def test_what_is_no_integer_is_named(value):
    with pytest.raises(UserError, match=r"^n must be an integer, got "):
        require_integer("n", value, 0)


def test_what_is_too_small_is_named():
    with pytest.raises(UserError, match=r"^n must be at least 3, got 2$"):
        require_integer("n", 2, 3)
