import numpy as np
import pytest

from minillm import BERT, BERTConfig
from minillm.errors import CheckpointError
from minillm.ops import log_softmax, log_softmax_backward

VARIANTS = ["bert-gelu", "bert-headless", "bert-relu-untied-old"]
WORDS = "bert.embeddings.word_embeddings.weight"


def test_every_stored_variant_is_tested(data):
    assert sorted(path.name for path in data.glob("bert-*")) == VARIANTS


def inputs(stored):
    return {name: stored[name] for name in ("attention_mask", "token_type_ids")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_and_gradients_are_the_frameworks(data, oracle, assert_close, assert_gradients_close, variant):
    model, stored = BERT.from_pretrained(data / variant, dtype=np.float64), oracle(variant)
    if model.config.masked_lm:
        logits, cache = model.forward(stored["input_ids"], **inputs(stored))
        assert_close(logits, stored["logits"], 1e-12)
        log_p, kept = log_softmax(logits)
        assert_close(log_p, stored["log_probs"], 1e-12)
        vector = model.backward(log_softmax_backward(stored["upstream"], kept), cache)
    else:
        hidden, cache = model.encode(stored["input_ids"], **inputs(stored))
        assert_close(hidden, stored["hidden"], 1e-12)
        vector = model.encode_backward(stored["upstream"], cache)
    gradient = model.parameters.like(vector)
    assert_gradients_close({_tensor(name, model.config): array for name, array in gradient.items()}, stored)


def _tensor(name, config):
    """The framework's name of a parameter."""
    if name == "cls.predictions.bias" and not config.tie_word_embeddings:
        return "cls.predictions.decoder.bias"
    return "bert." + name if config.masked_lm and not name.startswith("cls.") else name


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("max_shard_bytes", [None, 1000])
def test_what_is_saved_comes_back_to_the_bit(data, tmp_path, variant, max_shard_bytes):
    model = BERT.from_pretrained(data / variant)
    model.save_pretrained(tmp_path, max_shard_bytes=max_shard_bytes)
    again = BERT.from_pretrained(tmp_path)
    assert again.config == model.config
    assert (again.parameters.vector == model.parameters.vector).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_transformers_computes_the_same_from_what_is_saved(data, oracle, framework, assert_close, assert_gradients_close, tmp_path, variant):
    model, stored = BERT.from_pretrained(data / variant, dtype=np.float64), oracle(variant)
    model.save_pretrained(tmp_path)
    cls = getattr(framework.transformers, "BertForMaskedLM" if model.config.masked_lm else "BertModel")
    theirs = cls.from_pretrained(tmp_path, dtype="float64", attn_implementation="eager").eval()
    live = framework.evaluate(theirs, {"input_ids": stored["input_ids"], **inputs(stored)}, stored["upstream"])
    for name in live.keys() & {"logits", "log_probs", "hidden"}:
        assert_close(live[name], stored[name], 1e-12)
    assert_gradients_close({n.removeprefix("gradient."): g for n, g in live.items() if n.startswith("gradient.")}, stored)


CONFIGS = {
    "architecture": ({"model_type": "gpt2"}, "model_type is 'gpt2', expected 'bert'"),
    "task": ({"architectures": ["BertForTokenClassification"]}, "architectures is .*, expected one of BertForMaskedLM"),
    "positions": ({"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key' changes the maths"),
    "decoder": ({"is_decoder": True}, "is_decoder = True changes the maths and is not supported, expected False"),
    "activation": ({"hidden_act": "mish"}, "hidden_act must be one of gelu_new, gelu, relu, silu, got 'mish'"),
    "unknown": ({"embedding_size": 4}, "'embedding_size' is unknown and may change the maths"),
    "heads": ({"num_attention_heads": 3}, "hidden_size must be a multiple of num_attention_heads, got 8 and 3"),
    "layers": ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, but there are"),
    "vocabulary": ({"vocab_size": 18}, r"has shape \[17(, 8)?\], config.json makes it \[18(, 8)?\]"),
    "untied": ({"tie_word_embeddings": False}, "the tensor 'cls.predictions.decoder.weight' is missing"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_cannot_be_or_contradicts_the_tensors_is_named(copy, name):
    config, message = CONFIGS[name]
    with pytest.raises(CheckpointError, match=message) as caught:
        BERT.from_pretrained(copy("bert-gelu", config=config))
    assert "\n" not in str(caught.value)
    assert "bert-gelu" in str(caught.value)


def test_a_bad_tensor_is_named(copy):
    with pytest.raises(CheckpointError, match=rf"'{WORDS}' is nan at index \(0, 0\)"):
        BERT.from_pretrained(copy("bert-gelu", tensors={WORDS: np.full((17, 8), np.nan)}))
    other = {"classifier.weight": np.ones((2, 8), np.float32)}
    with pytest.raises(CheckpointError, match=r"'classifier.weight' has no place in the model"):
        BERT.from_pretrained(copy("bert-headless", tensors=other))


def test_a_tied_head_in_the_file_must_be_the_embedding(copy):
    with pytest.raises(CheckpointError, match=r"'cls.predictions.decoder.weight' is not the embedding, but config.json ties them"):
        BERT.from_pretrained(copy("bert-gelu", tensors={"cls.predictions.decoder.weight": np.ones((17, 8), np.float32)}))


def test_a_fresh_model_is_saved_and_read(tmp_path):
    config = BERTConfig(11, 8, 1, 2, 12, 7, 3, "silu", 0.5, False, True, 0.3)
    model = BERT(config, rng=0)
    model.save_pretrained(tmp_path)
    assert BERT.from_pretrained(tmp_path).config == config
