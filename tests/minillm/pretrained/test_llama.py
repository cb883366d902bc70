import dataclasses
import json

import numpy as np
import pytest

from minillm import Llama, LlamaConfig
from minillm.errors import CheckpointError
from minillm.ops import log_softmax, log_softmax_backward

VARIANTS = ["llama-full-bf16", "llama-grouped", "llama-multiquery-untied-shards"]
WORDS = "model.embed_tokens.weight"


def test_every_stored_variant_is_tested(data):
    assert sorted(path.name for path in data.glob("llama-*")) == VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_gradients_are_the_frameworks(data, oracle, assert_close, assert_gradients_close, variant):
    model, stored = Llama.from_pretrained(data / variant, dtype=np.float64), oracle(variant)
    logits, cache = model.forward(stored["input_ids"])
    log_p, kept = log_softmax(logits)
    assert_close(logits, stored["logits"], 1e-12)
    assert_close(log_p, stored["log_probs"], 1e-12)
    gradient = model.parameters.like(model.backward(log_softmax_backward(stored["upstream"], kept), cache))
    assert_gradients_close(gradient, stored)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("max_shard_bytes", [None, 1000])
def test_what_is_saved_comes_back_to_the_bit(data, tmp_path, variant, max_shard_bytes):
    model = Llama.from_pretrained(data / variant)
    assert model.parameters.vector.dtype == np.float32
    model.save_pretrained(tmp_path / "saved", max_shard_bytes=max_shard_bytes)
    again = Llama.from_pretrained(tmp_path / "saved")
    assert again.config == model.config
    assert (again.parameters.vector == model.parameters.vector).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_transformers_computes_the_same_from_what_is_saved(data, oracle, framework, assert_close, assert_gradients_close, tmp_path, variant):
    Llama.from_pretrained(data / variant, dtype=np.float64).save_pretrained(tmp_path)
    framework.transformers.models.llama.modeling_llama.torch = framework.Widened()
    cls = framework.transformers.LlamaForCausalLM
    model, report = cls.from_pretrained(tmp_path, dtype="float64", attn_implementation="eager", output_loading_info=True)
    assert not any(report.values())
    stored = oracle(variant)
    live = framework.evaluate(model.eval(), {"input_ids": stored["input_ids"]}, stored["upstream"])
    for name in ("logits", "log_probs"):
        assert_close(live[name], stored[name], 1e-12)
    assert_gradients_close({n.removeprefix("gradient."): g for n, g in live.items() if n.startswith("gradient.")}, stored)


TENSORS = {
    "missing": ({WORDS: None}, r"llama-grouped: the tensor 'model.embed_tokens.weight' is missing"),
    "shape": ({WORDS: np.ones((16, 16), np.float32)}, r"'model.embed_tokens.weight' has shape \[16, 16\], config.json makes it \[17, 16\]"),
    "NaN": ({WORDS: np.full((17, 16), np.nan, np.float32)}, r"'model.embed_tokens.weight' is nan at index \(0, 0\), not a finite float32"),
    "bias": ({"model.layers.0.self_attn.q_proj.bias": np.ones(16)}, "'model.layers.0.self_attn.q_proj.bias' has no place in the model"),
    "another head": ({"lm_head.weight": np.ones((17, 16), np.float32)}, "'lm_head.weight' is not the embedding, but config.json ties them"),
    "twice": ({"embed_tokens.weight": np.ones((17, 16), np.float32)}, "are the same parameter"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_bad_tensor_is_named_with_its_file(copy, name):
    tensors, message = TENSORS[name]
    with pytest.raises(CheckpointError, match=message) as caught:
        Llama.from_pretrained(copy("llama-grouped", tensors=tensors))
    assert "\n" not in str(caught.value)


CONFIGS = {
    "architecture": ({"model_type": "mistral"}, "model_type is 'mistral', expected 'llama'"),
    "head": ({"architectures": ["LlamaForTokenClassification"]}, r"architectures is \['LlamaForTokenClassification'\], expected one of"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act = 'gelu' changes the maths and is not supported, expected 'silu' or 'swish'"),
    "bias": ({"attention_bias": True}, "attention_bias = True changes the maths and is not supported, expected False"),
    "bias of the MLP": ({"mlp_bias": True}, "mlp_bias = True changes the maths"),
    "scaling": ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling = {'type': 'linear', 'factor': 2.0} changes the maths"),
    "scaled": ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "rope_type = 'llama3' changes the maths|'factor' is unknown"),
    "no object": ({"rope_parameters": 7}, "rope_parameters must be a JSON object, got 7"),
    "two thetas": ({"rope_theta": 10.0}, "rope_theta is 10.0, but 50.0 in rope_parameters"),
    "interleaved": ({"rope_interleaved": True}, "'rope_interleaved' is unknown and may change the maths"),
    "groups": ({"num_key_value_heads": 3}, "num_attention_heads must be a multiple of num_key_value_heads, got 4 and 3"),
    "odd head": ({"head_dim": 3}, "the width of a head must be even, got 3"),
    "heads": ({"head_dim": "left out", "num_attention_heads": 6}, "hidden_size must be a multiple of num_attention_heads, got 16 and 6"),
    "other heads": ({"num_key_value_heads": 4}, r"k_proj.weight' has shape \[8, 16\], config.json makes it \[16, 16\]"),
    "epsilon": ({"rms_norm_eps": "1e-5"}, "rms_norm_eps must be finite and at least 0, got '1e-5'"),
    "theta": ({"rope_theta": "left out", "rope_parameters": {"rope_theta": 0.0}}, "rope_theta must be above 0, got 0"),
    "tied": ({"tie_word_embeddings": None}, "tie_word_embeddings must be True or False, got None"),
    "untied": ({"tie_word_embeddings": False}, "the tensor 'lm_head.weight' is missing"),
    "too many layers": ({"num_hidden_layers": 3}, r"the tensor 'model.layers.2.\S+' is missing"),
    "absurdly many layers": ({"num_hidden_layers": 10**12}, "num_hidden_layers is 1000000000000, but there are 20 tensors in all"),
    "vocabulary": ({"vocab_size": 18}, r"'\S+embed_tokens.weight' has shape \[17, 16\], config.json makes it \[18, 16\]"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_cannot_be_or_contradicts_the_tensors_is_named(copy, name):
    config, message = CONFIGS[name]
    with pytest.raises(CheckpointError, match=message) as caught:
        Llama.from_pretrained(copy("llama-grouped", config=config))
    assert "\n" not in str(caught.value)
    assert "llama-grouped" in str(caught.value)


@pytest.mark.parametrize("keys", [{"rope_parameters": "left out"}, {"rope_theta": "left out"}])
def test_old_and_new_configs_and_keys_that_change_nothing(data, copy, keys):
    skipped = {
        "is_llama_config": True, "transformers.js_config": {"kv_cache_dtype": {"q4": "float16"}}, "rope_interleaved": False,
        "rope_scaling": None, "pretraining_tp": 1, "attention_dropout": 0.5, "_name_or_path": "x",
    }  # fmt: skip
    one, other = Llama.from_pretrained(copy("llama-grouped", config=skipped | keys)), Llama.from_pretrained(data / "llama-grouped")
    assert one.config == other.config
    assert (one.parameters.vector == other.parameters.vector).all()


def test_a_base_model_and_old_buffers_are_read(data, copy):
    stem = "model.layers.{}.self_attn.rotary_emb.inv_freq"
    place = copy("llama-grouped", tensors={stem.format(i): np.ones(2, np.float32) for i in range(2)})
    assert (Llama.from_pretrained(place).parameters.vector == Llama.from_pretrained(data / "llama-grouped").parameters.vector).all()


def test_every_option_of_a_config_is_saved(tmp_path):
    config = LlamaConfig(5, 6, 7, 1, 2, 1, 4, 9, 0.5, 77.0, True, 0.3)
    Llama(config, rng=0).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert {key: saved[key] for key in dataclasses.asdict(config)} == dataclasses.asdict(config)
    assert Llama.from_pretrained(tmp_path).config == config
