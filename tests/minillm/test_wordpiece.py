import json
import unicodedata

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.errors import TokenizerError
from minillm.wordpiece import SPECIAL, WordPieceTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyzσıßé中0123456789!?.,-'$^`~_α"
WORDS = ["un", "##aff", "##able", "the", "run", "##ning"]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *LETTERS, *(f"##{c}" for c in LETTERS)]
CHARACTERS = st.characters(exclude_categories=["Cs", "Cn"])
TEXTS = st.text(CHARACTERS | st.sampled_from(LETTERS.upper() + LETTERS + " \t\u0301İΣ中㐀\u00a0\u200b"), max_size=30)


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(VOCAB)


def pieces(tokenizer, text):
    return [tokenizer.pieces[i] for i in tokenizer.tokenize(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("UNaffable", "un ##aff ##able"),
        ("running, the", "run ##ning , the"),
        ("The\trun\r\nx\x00\u200b", "the run x"),
        ("ünaff", "un ##aff"),
        ("[MASK]s [mask]", "[MASK] s [UNK] m ##a ##s ##k [UNK]"),
        ("中a中", "中 a 中"),
        ("a\u2028b", "a b"),
        ("ΑΣ", "α ##σ"),
        ("the\u4e01", "the [UNK]"),
        ("a" * 101, "[UNK]"),
        ("don't", "d ##o ##n ' t"),
        ("[SEP]", "[SEP]"),
    ],
)
def test_text_becomes_the_longest_pieces(tokenizer, text, expected):
    assert pieces(tokenizer, text) == expected.split()


def test_a_text_and_a_pair_stand_between_cls_and_sep(tokenizer):
    assert tokenizer.decode(tokenizer.encode("the run", "the")) == "[CLS] the run [SEP] the [SEP]"
    assert tokenizer.decode(tokenizer.encode("unaffable"), skip_special_tokens=True) == "unaffable"
    assert tokenizer.encode("the").dtype == np.int32


def test_a_batch_is_padded_and_cut(tokenizer):
    ids, mask = tokenizer.encode_batch(["the run the run", "the", ""], max_length=5)
    assert [tokenizer.decode(row) for row in ids] == [
        "[CLS] the run the [SEP]", "[CLS] the [SEP] [PAD] [PAD]", "[CLS] [SEP] [PAD] [PAD] [PAD]",
    ]  # fmt: skip
    assert (mask == (ids != tokenizer.pad_token_id)).all()
    assert tokenizer.encode_batch([])[0].shape == (0, 0)


def test_options_keep_case_accents_and_ideographs():
    kept = WordPieceTokenizer([*VOCAB, "T"], lower=False, split_ideographs=False)
    assert pieces(kept, "The é a中") == ["T", "##h", "##e", "é", "a", "##中"]
    assert pieces(WordPieceTokenizer(VOCAB, strip_accents=False), "É") == ["é"]


def write(place, vocabulary, settings=None):
    (place / "vocab.txt").write_bytes("\n".join([*vocabulary, ""]).encode() if not isinstance(vocabulary, bytes) else vocabulary)
    if settings is not None:
        (place / "tokenizer_config.json").write_text(json.dumps(settings))
    return place


def test_a_directory_is_read_with_its_settings(tmp_path):
    read = WordPieceTokenizer.from_pretrained(write(tmp_path, VOCAB, {"do_lower_case": False, "strip_accents": None}))
    assert read.pieces == VOCAB
    assert (read.lower, read.strip) == (False, False)
    write(tmp_path, "\r\n".join(VOCAB).encode())
    assert WordPieceTokenizer.from_pretrained(tmp_path).pieces == VOCAB


@pytest.mark.parametrize(
    ("vocabulary", "settings", "message"),
    [
        (VOCAB[1:], None, r"vocab.txt: the vocabulary lacks \[PAD\]"),
        ([*VOCAB, "the"], None, "vocab.txt: 'the' stands twice in the vocabulary"),
        (b"a\n\xff", None, "vocab.txt is not UTF-8: .* at byte 2"),
        (VOCAB, {"do_basic_tokenize": False}, "tokenizer_config.json: do_basic_tokenize = False is not supported"),
        (VOCAB, {"never_split": ["x"]}, "tokenizer_config.json: never_split = .* is not supported"),
        (VOCAB, {"do_lower_case": "no"}, "tokenizer_config.json: lower must be true or false, got 'no'"),
        (VOCAB, [1], r"tokenizer_config.json must hold a JSON object, got \[1\]"),
    ],
)
def test_files_that_cannot_be_are_named(tmp_path, vocabulary, settings, message):
    with pytest.raises(TokenizerError, match=message):
        WordPieceTokenizer.from_pretrained(write(tmp_path, vocabulary, settings))


def test_errors_of_text_and_ids_say_where(tmp_path, tokenizer):
    with pytest.raises(TokenizerError, match=r"cannot read .*vocab.txt"):
        WordPieceTokenizer.from_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match=r"lone surrogate U\+D800 at position 1"):
        tokenizer.encode("a\ud800")
    with pytest.raises(TokenizerError, match="id 1000 at position 1 is outside of a vocabulary"):
        tokenizer.decode([1, 1000])


@given(TEXTS)
def test_any_text_has_ids(text):
    ids = WordPieceTokenizer(VOCAB).tokenize(text)
    assert all(0 <= i < len(VOCAB) for i in ids)


@pytest.mark.parametrize("lower", [True, False])
def test_ids_are_the_engines(lower):
    tokenizers = pytest.importorskip("tokenizers")
    ours = WordPieceTokenizer(VOCAB, lower=lower)
    theirs = tokenizers.Tokenizer(tokenizers.models.WordPiece({p: i for i, p in enumerate(VOCAB)}, unk_token="[UNK]"))
    theirs.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    theirs.add_special_tokens(list(SPECIAL))

    @hypothesis.settings(max_examples=1000)
    @given(TEXTS)
    def same(text):  # the engine's tables are those of Unicode 8: it takes later marks for letters
        text = "".join(c for c in text if unicodedata.ucd_3_2_0.category(c) != "Cn")
        assert ours.tokenize(text) == theirs.encode(text, add_special_tokens=False).ids

    same()
