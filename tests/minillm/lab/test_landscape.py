import numpy as np
import pytest

import envs
from minillm.lab.exact import expected_return
from minillm.lab.landscape import ascend, landscape, small_agent
from minillm.transformer import GPT


def test_the_path_climbs_and_its_values_are_exact():
    mdp = envs.exact("text/bandit-2-2")
    model, tokenizer, thetas, values = ascend(mdp, steps=20)
    assert values[-1] > values[0]
    for theta, value in zip(thetas, values, strict=True):
        assert value == expected_return(GPT.from_vector(model.config, theta), tokenizer, mdp)


def test_the_landscape_at_the_end_of_the_path_is_its_value():
    mdp = envs.exact("text/bandit-2-2")
    found = landscape(mdp, steps=10, n=3)
    assert found.path[-1] == pytest.approx([0, 0], abs=1e-12)
    assert found.x[0] < found.path[:, 0].min() < found.path[:, 0].max() < found.x[-1]
    assert 0.5 < found.inside <= 1 + 1e-12
    assert found.J.shape == (3, 3)
    assert np.isfinite(found.J).all()


def test_the_axes_of_the_landscape_are_the_directions_of_the_path():
    mdp = envs.exact("text/bandit-2-2")
    found = landscape(mdp, steps=10, n=3)
    model, tokenizer, thetas, _ = ascend(mdp, steps=10)
    directions = np.linalg.svd(thetas - thetas[-1], full_matrices=False)[2]
    theta = thetas[-1] + found.x[2] * directions[0] + found.y[0] * directions[1]
    assert found.J[0, 2] == pytest.approx(float(expected_return(GPT.from_vector(model.config, theta), tokenizer, mdp)), rel=1e-12)


def test_the_small_agent_is_the_same_for_the_same_seed():
    mdp = envs.exact("text/bandit-2-2")
    assert (small_agent(mdp, 3)[0].parameters.vector == small_agent(mdp, 3)[0].parameters.vector).all()
