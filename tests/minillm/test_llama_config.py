import pytest

from minillm import LlamaConfig
from minillm.errors import UserError

SIZES = {"vocab_size": 7, "hidden_size": 12, "intermediate_size": 5, "num_hidden_layers": 2, "num_attention_heads": 6}


def test_defaults_and_what_follows_from_the_sizes():
    config = LlamaConfig(**SIZES)
    assert config.heads == (6, 6, 2)
    assert config.key_value_shape == (2, 6, 2)
    assert LlamaConfig(**SIZES, num_key_value_heads=2, head_dim=8).key_value_shape == (2, 2, 8)
    assert (config.n_positions, config.value_head, config.head) == (2048, False, "lm_head.weight")
    assert LlamaConfig(**SIZES, tie_word_embeddings=True).head == "model.embed_tokens.weight"


def test_parameters_of_one_product_lie_side_by_side():
    names = list(LlamaConfig(**SIZES).shapes())
    for parts in (["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], ["mlp.gate_proj", "mlp.up_proj"]):
        start = names.index(f"model.layers.1.{parts[0]}.weight")
        assert names[start : start + len(parts)] == [f"model.layers.1.{part}.weight" for part in parts]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be at least 1, got 0"),
        ({"num_key_value_heads": "2"}, "num_key_value_heads must be an integer, got '2'"),
        ({"num_key_value_heads": 4}, "num_attention_heads must be a multiple of num_key_value_heads, got 6 and 4"),
        ({"hidden_size": 13}, "hidden_size must be a multiple of num_attention_heads, got 13 and 6"),
        ({"head_dim": 3}, "the width of a head must be even, got 3"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings must be True or False, got 1"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps must be finite and at least 0, got nan"),
        ({"rope_theta": True}, "rope_theta must be finite and at least 0, got True"),
        ({"rope_theta": 0}, "rope_theta must be above 0, got 0"),
    ],
)
def test_what_is_out_of_range_is_named(options, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        LlamaConfig(**SIZES | options)
