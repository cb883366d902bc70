import dataclasses
import json

import numpy as np
import pytest

from minillm import GPT, GPTConfig
from minillm.errors import CheckpointError, RunDirectoryError, UserError
from minillm.ops import log_softmax, log_softmax_backward

VARIANTS = ["gpt2-gelu-new", "gpt2-gelu-untied-shards", "gpt2-relu-unscaled-old", "gpt2-silu-inverse-bf16", "gpt2-wide-f16"]


def test_every_stored_variant_is_tested(data):
    assert sorted(path.name for path in data.glob("gpt2-*")) == VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_gradients_are_the_frameworks(data, oracle, assert_close, assert_gradients_close, variant):
    model, stored = GPT.from_pretrained(data / variant, dtype=np.float64), oracle(variant)
    logits, cache = model.forward(stored["input_ids"])
    log_p, kept = log_softmax(logits)
    assert_close(logits, stored["logits"], 1e-12)
    assert_close(log_p, stored["log_probs"], 1e-12)
    gradient = model.parameters.like(model.backward(log_softmax_backward(stored["upstream"], kept), cache))
    assert_gradients_close({n if n == "lm_head.weight" else "transformer." + n: g for n, g in gradient.items()}, stored)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("max_shard_bytes", [None, 1000])
def test_what_is_saved_comes_back_to_the_bit(data, tmp_path, variant, max_shard_bytes):
    model = GPT.from_pretrained(data / variant)
    assert model.parameters.vector.dtype == np.float32
    for kind in (np.float32, np.float64):
        model.astype(kind).save_pretrained(tmp_path / "saved", max_shard_bytes=max_shard_bytes)
        again = GPT.from_pretrained(tmp_path / "saved")
        assert again.config == model.config
        assert again.parameters.vector.dtype == kind
        assert (again.parameters.vector == model.parameters.vector).all()


def test_one_file_replaces_shards_and_shards_one_file(data, tmp_path):
    one, other = (GPT.from_pretrained(data / variant) for variant in VARIANTS[:2])
    for model, limit in ((one, None), (other, 1000), (one, None), (other, 2000)):
        model.save_pretrained(tmp_path, max_shard_bytes=limit)
        assert (GPT.from_pretrained(tmp_path).parameters.vector == model.parameters.vector).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_transformers_computes_the_same_from_what_is_saved(data, oracle, framework, assert_close, assert_gradients_close, tmp_path, variant):
    GPT.from_pretrained(data / variant, dtype=np.float64).save_pretrained(tmp_path)
    cls = framework.transformers.GPT2LMHeadModel
    model, report = cls.from_pretrained(tmp_path, dtype="float64", attn_implementation="eager", output_loading_info=True)
    assert not any(report.values())
    stored = oracle(variant)
    live = framework.evaluate(model.eval(), {"input_ids": stored["input_ids"]}, stored["upstream"])
    assert live.keys() == stored.keys() - {"input_ids", "upstream"}
    for name in ("logits", "log_probs"):
        assert_close(live[name], stored[name], 1e-12)
    assert_gradients_close({n.removeprefix("gradient."): g for n, g in live.items() if n.startswith("gradient.")}, stored)


def test_a_head_that_is_tied_may_be_in_the_file_if_it_is_the_embedding(data, copy):
    place = copy("gpt2-wide-f16", tensors={"lm_head.weight": np.ones((17, 8), np.float16)})
    GPT.from_pretrained(data / "gpt2-wide-f16")
    with pytest.raises(CheckpointError, match=r"^\S*/model.safetensors: 'lm_head.weight' is not the embedding, but config.json ties them"):
        GPT.from_pretrained(place)


WTE = "transformer.wte.weight"
TENSORS = {
    "missing": ({WTE: None}, r"gpt2-gelu-new: the tensor 'wte.weight' is missing"),
    "shape": ({WTE: np.ones((16, 8), np.float32)}, r"safetensors: '\S*wte.weight' has shape \[16, 8\], config.json makes it \[17, 8\]"),
    "transposed": ({WTE: np.ones((8, 17), np.float32)}, r"'\S*wte.weight' has shape \[8, 17\], config.json makes it \[17, 8\]"),
    "integers": ({WTE: np.ones((17, 8), np.int8)}, r"'\S*wte.weight' has dtype I8, expected one of F64, F32, F16, BF16"),
    "NaN": ({WTE: np.full((17, 8), np.nan, np.float32)}, r"'\S*wte.weight' is nan at index \(0, 0\), not a finite float32"),
    "too large": ({WTE: np.full((17, 8), 1e300)}, r"'\S*wte.weight' is 1e\+300 at index \(0, 0\), not a finite float32"),
    "unknown": ({"score.weight": np.ones(3)}, r"'score.weight' has no place in the model that config.json describes"),
    "twice": ({"wte.weight": np.ones((17, 8))}, r"'wte.weight' and '\S*wte.weight' are the same parameter|'\S*wte.weight' and"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_bad_tensor_is_named_with_its_file(copy, name):
    tensors, message = TENSORS[name]
    with pytest.raises(CheckpointError, match=message) as caught:
        GPT.from_pretrained(copy("gpt2-gelu-new", tensors=tensors), dtype=np.float32)
    assert "\n" not in str(caught.value)


CONFIGS = {
    "architecture": ({"model_type": "llama"}, "model_type is 'llama', expected 'gpt2'"),
    "no architecture": ({"model_type": "left out"}, "model_type is None, expected 'gpt2'"),
    "head": ({"architectures": ["GPT2ForSequenceClassification"]}, r"architectures is \['GPT2ForSequenceClassification'\], expected one of"),
    "activation": ({"activation_function": "selu"}, "activation_function must be one of gelu_new, gelu, relu, silu, got 'selu'"),
    "cross attention": ({"add_cross_attention": True}, "add_cross_attention = True changes the maths and is not supported, expected False"),
    "quantization": ({"quantization_config": {"bits": 4}}, "quantization_config = {'bits': 4} changes the maths and is not supported"),
    "pruned": ({"pruned_heads": {"0": [1]}}, "pruned_heads = {'0': \\[1\\]} changes the maths"),
    "unknown": ({"use_alibi": True}, "'use_alibi' is unknown and may change the maths; take it out if it does not"),
    "aliases": ({"n_ctx": 5}, "n_ctx is 5, but n_positions is 9|n_positions is 9, but n_positions is 5"),
    "heads": ({"n_head": 3}, "n_embd must be a multiple of n_head, got 8 and 3"),
    "text": ({"n_layer": "2"}, "n_layer must be an integer, got '2'"),
    "epsilon": ({"layer_norm_epsilon": "1e-5"}, "layer_norm_epsilon must be finite and at least 0, got '1e-5'"),
    "flag": ({"scale_attn_weights": 1}, "scale_attn_weights must be True or False, got 1"),
    "untied": ({"tie_word_embeddings": False}, "the tensor 'lm_head.weight' is missing"),
    "too few layers": ({"n_layer": 1}, r"'transformer.h.1.\S+' has no place in the model that config.json describes"),
    "too many layers": ({"n_layer": 3}, r"the tensor 'h.2.\S+' is missing"),
    "absurdly many layers": ({"n_layer": 10**12}, "n_layer is 1000000000000, but there are 28 tensors in all"),
    "absurd width": ({"n_embd": 10**12}, r"has shape \[\d+.*\], config.json makes it \[\d*000"),
    "vocabulary": ({"vocab_size": 18}, r"'\S+wte.weight' has shape \[17, 8\], config.json makes it \[18, 8\]"),
    "inner": ({"n_inner": "left out"}, r"has shape \[.*12.*\], config.json makes it \[.*32.*\]"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_cannot_be_or_contradicts_the_tensors_is_named(copy, name):
    config, message = CONFIGS[name]
    with pytest.raises(CheckpointError, match=message) as caught:
        GPT.from_pretrained(copy("gpt2-gelu-new", config=config))
    assert "\n" not in str(caught.value)
    assert "gpt2-gelu-new" in str(caught.value)


def test_keys_that_change_nothing_change_nothing(data, copy):
    skipped = {
        "n_ctx": 9, "summary_type": "mean", "summary_first_dropout": 0.5, "_name_or_path": "x", "task_specific_params": {"a": 1},
        "gradient_checkpointing": True, "unknown_but_off": False, "activation_function": "gelu_pytorch_tanh", "num_attention_heads": 2,
    }  # fmt: skip
    one, other = GPT.from_pretrained(copy("gpt2-gelu-new", config=skipped)), GPT.from_pretrained(data / "gpt2-gelu-new")
    assert one.config == other.config
    assert (one.parameters.vector == other.parameters.vector).all()


def test_dropout_is_read_and_changes_no_evaluation(data, oracle, assert_close, copy):
    model = GPT.from_pretrained(copy("gpt2-gelu-new", config={"resid_pdrop": 0.25}), dtype=np.float64)
    stored = oracle("gpt2-gelu-new")
    assert model.config.resid_pdrop == 0.25
    assert_close(model.forward(stored["input_ids"])[0], stored["logits"], 1e-12)


def test_sizes_that_a_config_leaves_out_are_gpt2s(copy):
    with pytest.raises(CheckpointError, match=r"has shape \[9, 8\], config.json makes it \[1024, 8\]"):
        GPT.from_pretrained(copy("gpt2-gelu-new", config={"n_positions": "left out"}))


def test_dtypes_without_a_place_in_the_format_and_directories_that_cannot_be(random_model, tmp_path):
    model = random_model()
    for dtype in (np.longdouble, np.complex128):
        with pytest.raises(CheckpointError, match="cannot be written as safetensors"):
            model.astype(dtype).save_pretrained(tmp_path / "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="cannot write"):
        model.save_pretrained(tmp_path / "file")
    model.save_pretrained(tmp_path / "good")
    with pytest.raises(UserError, match="dtype must be a floating or complex one, got int64"):
        GPT.from_pretrained(tmp_path / "good", dtype=np.int64)
    assert GPT.from_pretrained(tmp_path / "good", dtype=np.complex128).parameters.vector.dtype == np.complex128


def test_every_option_of_a_config_is_saved(tmp_path):
    config = GPTConfig(5, 4, 4, 1, 2, 3, "silu", 0.5, False, True, False, 0.1)
    GPT(config, rng=0).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert {key: saved[key] for key in dataclasses.asdict(config)} == dataclasses.asdict(config)
    assert GPT.from_pretrained(tmp_path).config == config
