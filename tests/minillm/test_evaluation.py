import dataclasses

import numpy as np

from minillm import evaluation
from minillm.evaluation import mean_loss, token_losses
from minillm.objectives import IGNORE, cross_entropy
from minillm.transformer import GPT


def test_pieces_give_the_cross_entropy_of_the_whole(random_model, monkeypatch):
    model = random_model()
    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(7, size=(2, 9, 5))
    targets[-1, 2:] = IGNORE
    expected = cross_entropy(model.forward(inputs)[0], targets)[0]
    monkeypatch.setattr(evaluation, "EVALUATED_TOKENS", 10)
    losses = token_losses(model, inputs, targets)
    assert losses.shape == (9, 5)
    assert (losses[-1, 2:] == 0).all()
    assert abs(mean_loss(model, inputs, targets) - expected) < 1e-14


def test_dropout_does_not_act(random_model):
    plain = random_model()
    config = dataclasses.replace(plain.config, resid_pdrop=0.5, attn_pdrop=0.5, embd_pdrop=0.5)
    inputs, targets = np.random.default_rng(0).integers(7, size=(2, 3, 5))
    dropping = GPT.from_vector(config, plain.parameters.vector)
    assert (token_losses(dropping, inputs, targets) == token_losses(plain, inputs, targets)).all()
