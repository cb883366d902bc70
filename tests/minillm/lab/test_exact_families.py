"""∇J of a transformer policy against the complex step of J, in families with and without chance, of one step and of many."""

import numpy as np
import pytest

import envs
from minillm.lab import check_gradient, gate_cases
from minillm.lab.exact import expected_return, expected_return_gradient
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT

FAMILIES = [
    ("grid/frozenlake-random-2", {"slip": 0.5}),
    ("dialogue/slots", {"noise": 0.2}),
    ("generate/grammar-4", {}),
    ("code/rpn-2", {}),
    ("text/sort-2-1", {}),
]


@pytest.mark.parametrize(("id", "options"), FAMILIES, ids=[id for id, _ in FAMILIES])
def test_the_gradient_of_J_is_the_complex_step_of_J(id, options):
    mdp = envs.exact(id, **options)
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts])
    longest = max(map(len, mdp.state_texts)) + max(map(len, mdp.action_texts)) + 1
    model = gate_cases.small_model(tokenizer.vocab_size, longest, seed=0)
    J, gradient = expected_return_gradient(model, tokenizer, mdp)
    assert gradient.any()

    def f(theta):
        return expected_return(GPT.from_vector(model.config, theta), tokenizer, mdp)

    assert pytest.approx(f(model.parameters.vector), rel=1e-14) == J
    assert check_gradient(f, gradient, model.parameters.vector)
    direction = np.random.default_rng(1).normal(size=gradient.shape)
    step = f(model.parameters.vector + 1e-30j * direction).imag / 1e-30
    assert abs(gradient @ direction - step) < 1e-13 * np.linalg.norm(gradient) * np.linalg.norm(direction)
