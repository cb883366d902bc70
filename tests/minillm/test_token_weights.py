import numpy as np
import pytest

from minillm.decoding import read
from minillm.token_weights import plain, token_weights


def test_weights_are_views(random_model):
    model = random_model()
    weights = token_weights(model.parameters, "wte.weight", model.config)
    model.parameters["h.1.mlp.c_fc.bias"][...] = 5
    model.parameters["wte.weight"][...] = 6
    assert (weights.layers[1].c_fc[-1] == 5).all()
    assert (weights.layers[1].c_fc[:-1] == model.parameters["h.1.mlp.c_fc.weight"]).all()
    assert (weights.head == 6).all()


def test_plain_weights_are_copies_whose_stream_has_no_mean(random_model):
    model = random_model()
    before = model.parameters.vector.copy()
    weights = plain(token_weights(model.parameters, "wte.weight", model.config), model.config)
    for added in (weights.wte, weights.wpe, *(w for layer in weights.layers for w in (layer.attn_proj, layer.mlp_proj))):
        assert np.abs(added.sum(axis=-1)).max() < 1e-14
        assert not np.shares_memory(added, model.parameters.vector)
    for layer in weights.layers:
        assert layer.ln_1 is layer.ln_2 is layer.scale is None
        layer.c_attn[...] = layer.c_fc[...] = 0
    assert (model.parameters.vector == before).all()


@pytest.mark.parametrize(("bound", "copies"), [(0, False), (1 << 20, True)])
def test_only_small_models_are_copied(random_model, monkeypatch, bound, copies):
    monkeypatch.setattr("minillm.transformer.PLAIN_PARAMETERS", bound)
    model = random_model()
    past, _ = read(model, np.array([[1, 2]]), np.array([2]))
    step = model.token_step(past)
    assert np.shares_memory(step.weights.wte, model.parameters.vector) != copies
    assert np.abs(step(np.array([3])) - model.forward(np.array([[1, 2, 3]]))[0][:, -1]).max() < 1e-13
