import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.errors import TokenizerError
from minillm.tokenizer import END_OF_TEXT, CharTokenizer

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=5)


@given(TEXTS)
def test_decode_undoes_encode(texts):
    tokenizer = CharTokenizer.from_texts(texts)
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("text", ["", "\n", "é", "e\u0301", "👩\u200d👩\u200d👧", "\r\n", " a ", "\0", "\ufeff", "a\0"])
def test_nothing_is_normalised_stripped_or_merged(text):
    tokenizer = CharTokenizer.from_texts(["é", "e\u0301", "👩\u200d👩\u200d👧", "\r\n", " a ", "\0\ufeff"])
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == text


@given(TEXTS)
def test_a_batch_equals_text_by_text(texts):
    tokenizer = CharTokenizer.from_texts(texts)
    ids, lengths = tokenizer.encode_batch(texts)
    assert lengths.tolist() == [len(text) for text in texts]
    assert ids.shape == (len(texts), max(lengths))
    for row, text in zip(ids, texts, strict=True):
        assert row[: len(text)].tolist() == tokenizer.encode(text).tolist()
        assert (row[len(text) :] == tokenizer.eos_token_id).all()


@given(TEXTS)
def test_an_array_of_strings_equals_a_list(texts):
    array = np.array(texts)  # NumPy drops zeros at the end of a string
    tokenizer = CharTokenizer.from_texts(array.tolist())
    for same in (array, array.astype(f"<U{array.itemsize // 4 + 3}"), np.repeat(array, 2)[::2]):
        ids, lengths = tokenizer.encode_batch(same)
        expected, expected_lengths = tokenizer.encode_batch(array.tolist())
        assert ids.tolist() == expected.tolist()
        assert lengths.tolist() == expected_lengths.tolist()


@pytest.mark.parametrize("texts", [[], np.array([], dtype=str), np.array([""]), [""]])
def test_batches_without_characters(texts):
    ids, lengths = CharTokenizer("ab").encode_batch(texts)
    assert ids.shape == (len(texts), 0)
    assert lengths.tolist() == [0] * len(texts)


@pytest.mark.parametrize("size", [300, 70_000])
def test_large_vocabularies_round_trip(size):
    points = [point for point in range(0x20, 0x20 + size + 0x800) if not 0xD800 <= point < 0xE000][:size]
    tokenizer = CharTokenizer(chr(point) for point in points)
    assert tokenizer.vocab_size == size + 1
    text = "".join(tokenizer.characters)
    assert tokenizer.encode(text).tolist() == list(range(size))
    assert tokenizer.decode(range(size)) == text


def test_ids_are_the_order_of_the_characters_and_the_special_token_is_last():
    tokenizer = CharTokenizer("ba")
    assert tokenizer.encode("ab").tolist() == [1, 0]
    assert tokenizer.eos_token_id == 2
    assert tokenizer.vocab_size == 3
    assert CharTokenizer.from_texts(["cab", "b"]).characters == ("a", "b", "c")


def test_the_special_token_reads_or_is_left_out():
    tokenizer = CharTokenizer("ab")
    assert tokenizer.decode([0, 2, 1, 2]) == f"a{END_OF_TEXT}b{END_OF_TEXT}"
    assert tokenizer.decode([0, 2, 1, 2], skip_special_tokens=True) == "ab"
    assert tokenizer.decode([]) == ""


def test_the_letters_of_the_special_token_are_letters():
    tokenizer = CharTokenizer.from_texts([END_OF_TEXT])
    ids = tokenizer.encode(END_OF_TEXT)
    assert len(ids) == len(END_OF_TEXT)
    assert tokenizer.eos_token_id not in ids.tolist()


def test_an_empty_vocabulary_spells_the_empty_text():
    tokenizer = CharTokenizer("")
    assert tokenizer.vocab_size == 1
    assert tokenizer.encode("").tolist() == []
    with pytest.raises(TokenizerError, match="'a'"):
        tokenizer.encode("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abxa", r"character 'x' \(U\+0078\) at position 2 is not in the vocabulary of 2 characters"),
        ("\U0001f600", r"character '😀' \(U\+1F600\) at position 0 is not"),
        ("a\ud800", r"lone surrogate U\+D800 at position 1 is not a character"),
    ],
)
def test_a_foreign_character_is_named_with_its_place(text, message):
    with pytest.raises(TokenizerError, match=message):
        CharTokenizer("ab").encode(text)


@pytest.mark.parametrize("kind", [list, np.array])
@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ab", "", "bxa"], r"character 'x' \(U\+0078\) at position 1 of text 2 is not in the vocabulary"),
        (["x"], r"character 'x' \(U\+0078\) at position 0 of text 0 is not"),
        (["ab", "b\ud800"], r"lone surrogate U\+D800 at position 1 of text 1 is not a character"),
    ],
)
def test_a_foreign_character_in_a_batch_is_named_with_its_text(kind, texts, message):
    with pytest.raises(TokenizerError, match=message):
        CharTokenizer("ab").encode_batch(kind(texts))


@pytest.mark.parametrize(("ids", "message"), [([0, 3], "id 3 at position 1"), ([-1], "id -1 at position 0")])
def test_a_foreign_id_is_named_with_its_place(ids, message):
    with pytest.raises(TokenizerError, match=f"{message} is outside of a vocabulary of 3"):
        CharTokenizer("ab").decode(ids)


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        ("aba", "character 'a' stands twice in the vocabulary"),
        (["a", "bc"], "vocabulary entry 1 must be one character, got 'bc'"),
        (["", "b"], "vocabulary entry 0 must be one character, got ''"),
        ("a\udc00", r"vocabulary entry 1 is a lone surrogate, U\+DC00"),
    ],
)
def test_a_bad_vocabulary_is_named(characters, message):
    with pytest.raises(TokenizerError, match=message):
        CharTokenizer(characters)


@pytest.mark.parametrize("text", [b"ab", 3, None, ["a"]])
def test_a_wrong_type_is_a_type_error(text):
    with pytest.raises(TypeError, match="expected a str, got"):
        CharTokenizer("ab").encode(text)
