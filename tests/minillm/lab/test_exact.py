"""J and ∇J against a plain loop over states and actions, and against the differences of J."""

import numpy as np
import pytest

import envs
from minillm.agent import LLMAgent
from minillm.lab import check_gradient, gate_cases
from minillm.lab.exact import expected_return, expected_return_gradient
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT


@pytest.fixture(params=["text/bandit-2-2", "grid/empty-3", "grid/frozenlake", "dialogue/slots", "text/copy-1-1"])
def world(request):
    mdp = envs.exact(request.param)
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts])
    longest = max(map(len, mdp.state_texts)) + max(map(len, mdp.action_texts)) + 1
    return mdp, tokenizer, gate_cases.small_model(tokenizer.vocab_size, longest, seed=0)


def test_J_is_the_value_of_the_policy_that_the_agent_reports(world):
    mdp, tokenizer, model = world
    agent = LLMAgent(model, tokenizer, max_new_tokens=6)
    policy = np.exp(agent.action_log_probs(mdp.state_texts, mdp.action_texts))
    assert expected_return(model, tokenizer, mdp) == pytest.approx(mdp.value(policy), rel=1e-12)


def test_the_gradient_of_J_is_that_of_J(world):
    mdp, tokenizer, model = world
    J, gradient = expected_return_gradient(model, tokenizer, mdp)
    assert pytest.approx(expected_return(model, tokenizer, mdp), rel=1e-14) == J

    def f(theta):
        return expected_return(GPT.from_vector(model.config, theta), tokenizer, mdp)

    assert check_gradient(f, gradient, model.parameters.vector)
