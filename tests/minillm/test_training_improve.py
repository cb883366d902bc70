"""The step that improve takes."""

import dataclasses

import numpy as np
import pytest

from minillm.errors import NonFiniteError
from minillm.optimizers import AdamW
from minillm.scoring import policy_gradient
from minillm.training import coefficients, improve
from minillm.transformer import GPT


def model_for(random_model, tokenizer, **options):
    return random_model(**{"vocab_size": tokenizer.vocab_size, "n_positions": 40} | options)


def test_a_gradient_that_is_not_finite_takes_no_step(random_decisions, random_model, monkeypatch):
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    optimizer, before = AdamW(model.parameters), model.parameters.vector.copy()

    def broken(self, *_):
        gradient = self.parameters.like()
        gradient["ln_f.bias"][3] = np.inf
        return gradient.vector

    monkeypatch.setattr(GPT, "backward", broken)
    with pytest.raises(NonFiniteError, match=r"the gradient of ln_f.bias is -inf at index \(3,\) in step 17"):
        improve(model, tokenizer, experience, optimizer, step=17)
    assert (model.parameters.vector == before).all()
    assert optimizer.t == 0
    assert (optimizer.m == 0).all()


def test_improve_goes_up(random_decisions, random_model):
    """Along the estimated gradient of J: the surrogate of the same episodes grows."""
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    g = policy_gradient(model, tokenizer, experience, coefficients(experience))
    before = model.parameters.vector.copy()
    improve(model, tokenizer, experience, AdamW(model.parameters, 1e-3, weight_decay=0), step=0)
    moved = model.parameters.vector - before
    assert (np.sign(moved)[np.abs(g) > 1e-6] == np.sign(g)[np.abs(g) > 1e-6]).all()


def test_equal_rewards_leave_the_weights_where_they_are(random_decisions, random_model):
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    before = model.parameters.vector.copy()
    same = dataclasses.replace(experience, rewards=np.full(len(experience), 0.35))
    improve(model, tokenizer, same, AdamW(model.parameters, weight_decay=0), step=0)
    assert (model.parameters.vector == before).all()


def test_every_option_of_improve_changes_the_step(random_decisions, random_model):
    tokenizer, experience, _ = random_decisions()
    vectors = []
    for options in ({}, {"lr": 0.5}, {"baseline": "none"}, {"baseline": "mean"}):
        model = model_for(random_model, tokenizer, n_positions=8)
        improve(model, tokenizer, experience, AdamW(model.parameters), step=0, **options)
        vectors.append(model.parameters.vector.tobytes())
    assert len(set(vectors)) == 4
