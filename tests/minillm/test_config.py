import math

import pytest

from minillm.config import GPTConfig
from minillm.errors import UserError

SMALL = {"vocab_size": 5, "n_positions": 6, "n_embd": 4, "n_layer": 2, "n_head": 2}


def test_the_names_and_shapes_are_those_of_gpt_2():
    shapes = GPTConfig(**SMALL).shapes()
    assert shapes["wte.weight"] == (5, 4)
    assert shapes["wpe.weight"] == (6, 4)
    assert shapes["h.1.attn.c_attn.weight"] == (4, 12)
    assert shapes["h.1.attn.c_proj.bias"] == (4,)
    assert shapes["h.0.mlp.c_fc.weight"] == (4, 16)
    assert shapes["h.0.mlp.c_proj.weight"] == (16, 4)
    assert list(shapes)[-2:] == ["ln_f.weight", "ln_f.bias"]
    assert len(shapes) == 2 + 2 * 12 + 2


def test_gpt_2_small_has_its_124_million_parameters():
    config = GPTConfig(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12)
    assert sum(math.prod(shape) for shape in config.shapes().values()) == 124_439_808


def test_options_of_the_shape():
    assert GPTConfig(**SMALL, n_inner=7).shapes()["h.0.mlp.c_fc.weight"] == (4, 7)
    assert GPTConfig(**SMALL, n_inner=7).inner == 7
    assert GPTConfig(**SMALL).inner == 16
    assert GPTConfig(**SMALL, tie_word_embeddings=False).shapes()["lm_head.weight"] == (5, 4)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None, True])
def test_a_size_that_is_not_a_positive_integer_is_named(name, value):
    with pytest.raises(UserError, match=rf"^{name} must be (an integer|at least 1), got {value!r}$"):
        GPTConfig(**SMALL | {name: value})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"n_inner": 0}, "n_inner must be at least 1, got 0"),
        ({"n_head": 3}, "n_embd must be a multiple of n_head, got 4 and 3"),
        ({"activation_function": "selu"}, "activation_function must be one of gelu_new, gelu, relu, silu, got 'selu'"),
        ({"layer_norm_epsilon": -1e-5}, "layer_norm_epsilon must be finite and at least 0, got -1e-05"),
        ({"layer_norm_epsilon": math.nan}, "layer_norm_epsilon must be finite and at least 0, got nan"),
        ({"initializer_range": math.inf}, "initializer_range must be finite and at least 0, got inf"),
    ],
)
def test_a_bad_option_is_named(option, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        GPTConfig(**SMALL | option)


@pytest.mark.parametrize("name", ["resid_pdrop", "embd_pdrop", "attn_pdrop"])
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_a_dropout_probability_out_of_range_is_named(name, value):
    with pytest.raises(UserError, match=f"^{name} must be at least 0 and below 1, got {value}$"):
        GPTConfig(**SMALL, **{name: value})
