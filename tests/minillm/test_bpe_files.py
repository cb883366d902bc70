"""Files of a tokenizer: what is written is read back; what is damaged or unsupported is one line with file and key."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.bpe import BPETokenizer
from minillm.errors import TokenizerError

DATA = Path(__file__).parents[1] / "data" / "bpe"
TEXT = "the cat's 1984 été <|endoftext|> \n"


@pytest.fixture
def whole():
    return json.loads((DATA / "words" / "tokenizer.json").read_text("utf-8"))


def write(directory, content, **settings_):
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    if settings_:
        (directory / "tokenizer_config.json").write_text(json.dumps(settings_), encoding="utf-8")
    return directory


@pytest.mark.parametrize("name", ["words", "digits"])
def test_saved_and_read_back(tmp_path, name):
    tokenizer = BPETokenizer.from_pretrained(DATA / name)
    tokenizer.save_pretrained(tmp_path)
    again = BPETokenizer.from_pretrained(tmp_path)
    assert again.encode(TEXT).tolist() == tokenizer.encode(TEXT).tolist()
    assert (again.digits, again.eos_token_id, again.vocab_size) == (tokenizer.digits, tokenizer.eos_token_id, tokenizer.vocab_size)


def test_vocab_json_and_merges_txt_say_the_same(tmp_path, whole):
    vocab, merges = whole["model"]["vocab"], whole["model"]["merges"]
    (tmp_path / "vocab.json").write_text(json.dumps({**vocab, "<|endoftext|>": len(vocab)}), encoding="utf-8")
    lines = ["#version: 0.2", *(merge if isinstance(merge, str) else " ".join(merge) for merge in merges), ""]
    (tmp_path / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    expected = BPETokenizer.from_pretrained(DATA / "words").encode(TEXT).tolist()
    assert BPETokenizer.from_pretrained(tmp_path).encode(TEXT).tolist() == expected


def test_merges_may_be_strings_or_pairs(tmp_path, whole):
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in whole["model"]["merges"]]
    for form in (merges, [" ".join(merge) for merge in merges]):
        whole["model"]["merges"] = form
        assert BPETokenizer.from_pretrained(write(tmp_path, whole)).merges == [tuple(merge) for merge in merges]


def test_the_end_token_is_the_one_that_the_config_names(tmp_path, whole):
    whole["added_tokens"].append({"id": 400, "content": "<|im_end|>", "special": True})
    assert BPETokenizer.from_pretrained(write(tmp_path, whole, eos_token="<|im_end|>")).eos_token_id == 400
    assert BPETokenizer.from_pretrained(write(tmp_path, whole, eos_token={"content": "<|im_end|>"})).eos_token_id == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.update(normalizer={"type": "NFC"}), "normalizer = .* is not supported"),
        (lambda w: w["model"].update(byte_fallback=True), "model.byte_fallback = True is not supported"),
        (lambda w: w["model"].update(ignore_merges=True), "model.ignore_merges = True is not supported"),
        (lambda w: w["model"].update(end_of_word_suffix="</w>"), "model.end_of_word_suffix = '</w>' is not supported"),
        (lambda w: w["model"].update(type="Unigram"), "model.type is 'Unigram', expected 'BPE'"),
        (lambda w: w["pre_tokenizer"].update(type="Whitespace"), "pre_tokenizer must be ByteLevel"),
        (lambda w: w["pre_tokenizer"].update(add_prefix_space=True), "add_prefix_space must be false"),
        (lambda w: w.update(pre_tokenizer=None), "pre_tokenizer must be ByteLevel"),
        (lambda w: w.update(truncation={"max_length": 4}), "truncation = .* is not supported"),
        (lambda w: w.update(padding={"length": 4}), "padding = .* is not supported"),
        (lambda w: w.update(post_processor={"type": "BertProcessing"}), "post_processor = .* is not supported, it may add tokens"),
        (lambda w: w.update(post_processor={"type": "TemplateProcessing", "special_tokens": {"<s>": {}}}), "it may add tokens"),
        (lambda w: w.update(post_processor="ByteLevel"), "post_processor = 'ByteLevel' is not supported"),
        (lambda w: w.update(pre_tokenizer={"pretokenizers": 3}), "pre_tokenizer must be ByteLevel"),
        (lambda w: w.update(pre_tokenizer={"pretokenizers": ["ByteLevel"]}), "pre_tokenizer must be ByteLevel"),
        (lambda w: w.update(added_tokens=3), "added_tokens must be a JSON array, got 3"),
        (lambda w: w["model"]["vocab"].update(a=[]), r"the id of token 'a' is \[\], not an integer from 0"),
        (lambda w: w["model"].pop("merges"), "merges must be a JSON array"),
        (lambda w: w["model"].update(vocab=[1]), "vocab must be a JSON object"),
        (lambda w: w["model"]["vocab"].update(a=-1), "the id of token 'a' is -1, not an integer from 0"),
        (lambda w: w["model"]["vocab"].update(a=w["model"]["vocab"]["b"]), "the id of token 'b' is .*, the same as 'a'"),
        (lambda w: w["model"]["merges"].append("one"), "merge .* must be two tokens, got 'one'"),
        (lambda w: w["added_tokens"][0].update(lstrip=True), "with lstrip = True is not supported"),
        (lambda w: w["added_tokens"][0].pop("content"), "added token 0 must have an id and a content"),
    ],
)
def test_what_is_damaged_or_unsupported_names_file_and_key(tmp_path, whole, change, message):
    change(whole)
    with pytest.raises(TokenizerError, match=f"tokenizer.json: .*{message}"):
        BPETokenizer.from_pretrained(write(tmp_path, whole))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"eos_token": "<|none|>"}, "the end token '<|none|>' is not among the special tokens"),
        ({"eos_token": 3}, "tokenizer_config.json: eos_token must be a text, got 3"),
        ({"eos_token": {"content": None}}, "tokenizer_config.json: eos_token must be a text"),
        ({"add_prefix_space": True}, "tokenizer_config.json: add_prefix_space = True is not supported"),
        ({"add_bos_token": True}, "tokenizer_config.json: add_bos_token = True is not supported"),
    ],
)
def test_a_setting_that_is_not_supported_names_file_and_key(tmp_path, whole, settings_, message):
    with pytest.raises(TokenizerError, match=message) as caught:
        BPETokenizer.from_pretrained(write(tmp_path, whole, **settings_))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("named", [3, ["a"], {"x": {"content": "a"}}, {"9" * 5000: {"content": "a"}}, {"1": "a"}, {"1": {"content": ""}}])
def test_added_tokens_that_are_none_are_named(tmp_path, named):
    (tmp_path / "vocab.json").write_text('{"a": 0, "<|endoftext|>": 1}', encoding="utf-8")
    (tmp_path / "merges.txt").write_text("", encoding="utf-8")
    assert BPETokenizer.from_pretrained(tmp_path).encode("a<|endoftext|>").tolist() == [0, 1]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": named}), encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"tokenizer_config.json: added.token"):
        BPETokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_json_object_is_named(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        BPETokenizer.from_pretrained(tmp_path)


def test_a_directory_without_the_files_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"has neither tokenizer\.json nor"):
        BPETokenizer.from_pretrained(tmp_path)


@settings(max_examples=150)
@given(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=4))
def test_a_mutated_file_loads_or_is_refused(tmp_path_factory, position, junk):
    good = (DATA / "words" / "tokenizer.json").read_bytes()
    at = position % len(good)
    directory = tmp_path_factory.mktemp("mutated")
    (directory / "tokenizer.json").write_bytes(good[:at] + junk + good[at + len(junk) :])
    try:
        tokenizer = BPETokenizer.from_pretrained(directory)
        tokenizer.decode(tokenizer.encode("the cat"))
    except TokenizerError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


junk = st.sampled_from([None, True, 0, -1, 10**12, 1.5, "", "x", "\ud800", [], {}, [1], {"a": 1}, [[]], [{"id": 1}], {"type": "ByteLevel"}])


def places(value, path=()):
    """The paths of all that stands in a JSON value."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


@settings(max_examples=150)
@given(st.data(), st.sampled_from(["words", "digits"]))
def test_a_file_with_something_else_anywhere_loads_or_is_refused(tmp_path_factory, data, name):
    content = json.loads((DATA / name / "tokenizer.json").read_text("utf-8"))
    merges = content["model"]["merges"] = content["model"]["merges"][:2]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    content["model"]["vocab"] = {t: content["model"]["vocab"][t] for pair in pairs for t in (*pair, "".join(pair))}
    BPETokenizer.from_pretrained(write(tmp_path_factory.mktemp("good"), content))
    *outer, last = data.draw(st.sampled_from([path for path in places(content) if path]))
    inner = content
    for key in outer:
        inner = inner[key]
    inner[last] = data.draw(junk)
    message = ""
    try:
        BPETokenizer.from_pretrained(write(tmp_path_factory.mktemp("junk"), content))
    except TokenizerError as error:
        message = str(error)
    assert "\n" not in message
    assert not message or "tokenizer.json" in message
