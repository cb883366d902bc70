"""The standard case is blind to nothing."""

import numpy as np
import pytest

from minillm.lab.blind import blind_spots
from minillm.lab.standard import block_error, random_case
from minillm.parameters import Parameters


def test_the_standard_case_has_no_blind_spot_but_square_projections():
    case = random_case(0)
    config = case.config
    inputs = {"ids": case.ids, "targets": case.targets, "upstream": case.upstream, "n_head": config.n_head, "n_layer": config.n_layer}
    warnings = blind_spots(dict(case.layout(case.theta)), inputs)
    assert [w.split()[0] for w in warnings] == ["h.0.attn.c_proj.weight", "h.1.attn.c_proj.weight"]
    assert all("is square" in w for w in warnings)


def test_padding_has_no_upstream_gradient():
    case = random_case(0)
    assert (case.targets < 0).any()
    assert (case.upstream[case.targets < 0] == 0).all()
    assert (case.upstream[case.targets >= 0] != 0).all()


def test_the_same_seed_gives_the_same_case():
    a, b = random_case(4), random_case(4)
    np.testing.assert_array_equal(a.theta, b.theta)
    assert a.loss(a.theta) == b.loss(b.theta)


def test_a_block_is_judged_by_its_own_size_down_to_a_thousandth_of_the_largest():
    exact = Parameters({"large": (2,), "small": (1,), "tiny": (1,)}, np.array([10.0, -5, 0.1, 1e-9]))
    assert block_error(exact.vector, exact) == 0
    assert block_error(exact.vector + np.array([0, 1, 0, 0]), exact) == pytest.approx(0.1)
    assert block_error(exact.vector + np.array([0, 0, 0.01, 0]), exact) == pytest.approx(0.1)
    assert block_error(exact.vector + np.array([0, 0, 0, 0.001]), exact) == pytest.approx(0.1)
