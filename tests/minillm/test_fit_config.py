import dataclasses
import math

import pytest

from minillm.errors import UserError
from minillm.fit_config import PRESETS, FitConfig


def test_the_presets_have_the_shapes_of_the_benchmarks():
    sizes = {
        name: (c.n_positions, c.batch_size, c.n_layer, c.n_head, c.n_embd)
        for name, c in ((name, FitConfig(**changes)) for name, changes in PRESETS.items())
    }
    assert sizes == {"micro": (16, 16, 1, 4, 16), "tiny": (64, 12, 4, 4, 128), "small": (256, 8, 6, 6, 384)}


def test_the_shape_takes_what_belongs_to_the_model():
    config = FitConfig(n_layer=3, resid_pdrop=0.1, embd_pdrop=0.2, attn_pdrop=0.3, initializer_range=0.05)
    shape = config.shape(11)
    for name in ("n_layer", "n_head", "n_embd", "n_positions", "resid_pdrop", "embd_pdrop", "attn_pdrop", "initializer_range"):
        assert getattr(shape, name) == getattr(config, name)
    assert shape.vocab_size == 11


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(FitConfig)])
@pytest.mark.parametrize("value", [-1, "3", None, True, math.nan, math.inf])
def test_a_wrong_number_is_named(name, value):
    with pytest.raises(UserError, match=f"^{name} must be "):
        FitConfig(**{name: value})
