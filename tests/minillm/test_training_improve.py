"""The step that improve takes."""

import dataclasses

import numpy as np
import pytest

from minillm.errors import NonFiniteError, UserError
from minillm.estimators import ESTIMATORS, named
from minillm.optimizers import AdamW
from minillm.sampling import Sampling
from minillm.scoring import policy_gradient, score
from minillm.training import coefficients, improve
from minillm.transformer import GPT


def model_for(random_model, tokenizer, **options):
    return random_model(**{"vocab_size": tokenizer.vocab_size, "n_positions": 40} | options)


def test_a_gradient_that_is_not_finite_takes_no_step(random_decisions, random_model, monkeypatch):
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    optimizer, before = AdamW(model.parameters), model.parameters.vector.copy()

    def broken(self, *_, **__):
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
    for options in ({}, {"lr": 0.5}, {"estimator": ESTIMATORS["reinforce"]}, {"epochs": 2}, {"sampling": Sampling(0.5)}):
        model = model_for(random_model, tokenizer, n_positions=8)
        improve(model, tokenizer, experience, AdamW(model.parameters), step=0, **options)
        vectors.append(model.parameters.vector.tobytes())
    assert len(set(vectors)) == 5


def test_coefficients_are_of_the_first_step_then_of_the_next_theta(random_decisions, random_model):
    """PPO-like methods: ratio exactly 1 in the first epoch, so the coefficients are the advantages; then it moves."""
    tokenizer, experience, _ = random_decisions()
    model, seen = model_for(random_model, tokenizer, n_positions=8), []
    improve(
        model, tokenizer, experience, AdamW(model.parameters, 1e-2), step=0, estimator=ESTIMATORS["is_token"], epochs=3,
        on_coefficients=lambda epoch, c: seen.append((epoch, c)),
    )  # fmt: skip
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    plain = 1 / len(experience) * experience.rewards[:, None] * (experience.action_ids >= 0)
    assert (seen[0][1] == plain).all()
    assert (seen[1][1] != plain).any()
    assert (seen[2][1] != seen[1][1]).any()


@pytest.mark.parametrize("name", ["gae", "a2c", "ppo_clip", "value_baseline"])
def test_a_value_head_learns_the_return_that_is_to_come(random_decisions, random_model, name):
    tokenizer, experience, _ = random_decisions()
    same = dataclasses.replace(experience, rewards=np.full(len(experience), 0.7))
    model = model_for(random_model, tokenizer, n_positions=8, value_head=True)
    optimizer = AdamW(model.parameters, 3e-2, weight_decay=0)
    for step in range(150):
        improve(model, tokenizer, same, optimizer, step=step, estimator=named(name))
    values = score(model, tokenizer, same).values[same.action_ids >= 0]
    np.testing.assert_allclose(values, 0.7, atol=0.1)


def test_what_an_estimator_needs_and_is_not_there_is_named(random_decisions, random_model):
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    for name, missing in {"gae": "values", "kl_full": "full_ref_log_probs", "all_action": "q", "optimal_baseline": "score_norms"}.items():
        with pytest.raises(UserError, match=f"estimator {name} needs {missing}, which training does not have here"):
            improve(model, tokenizer, experience, AdamW(model.parameters), step=0, estimator=named(name))


@pytest.mark.parametrize("name", ["kl_k2_loss_token", "kl_full"])
def test_a_step_away_from_the_reference_is_pulled_back_and_none_is_not(random_decisions, random_model, name):
    tokenizer, experience, _ = random_decisions()
    model = model_for(random_model, tokenizer, n_positions=8)
    seen = []
    improve(
        model, tokenizer, experience, AdamW(model.parameters), step=0, estimator=named(name), sampling=Sampling(0.5),
        reference=model.astype(np.float64), epochs=2, on_coefficients=lambda epoch, c: seen.append(c),
    )  # fmt: skip
    if name == "kl_k2_loss_token":
        assert (seen[0] == 0).all()
    assert seen[0].ndim == (3 if name == "kl_full" else 2)
