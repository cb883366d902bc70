import itertools
import lzma
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.corpus import SONNETS, Corpus, blocks, random_blocks, read_texts, yardsticks
from minillm.errors import UserError
from minillm.objectives import IGNORE

TEXT = "the quick brown fox\njumps over the lazy dog\n" * 30


def test_the_sonnets_come_along():
    (text,) = read_texts([SONNETS])
    assert text.isascii()
    assert len(text) == 95_728
    assert text.startswith("THE SONNETS\nby William Shakespeare\n")
    assert "Shall I compare thee to a summer's day?" in text


def test_the_last_share_of_each_text_is_kept_from_training():
    corpus = Corpus.from_texts(["a" * 90 + "b" * 10, "c" * 45 + "d" * 5])
    eos = corpus.tokenizer.decode([corpus.tokenizer.eos_token_id])
    assert corpus.tokenizer.decode(corpus.train) == eos + "a" * 90 + eos + "c" * 45
    assert corpus.tokenizer.decode(corpus.validation) == "b" * 10 + "d" * 5
    assert len(Corpus.from_texts(["a" * 100], validation=0.25).validation) == 25


def test_the_sum_knows_the_corpus_again():
    assert Corpus.from_texts(["ab"]).sha256 == Corpus.from_texts(["ab"]).sha256
    assert len({Corpus.from_texts(texts).sha256 for texts in (["ab"], ["ba"], ["a", "b"])}) == 3


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, math.nan])
def test_a_wrong_share_is_named(share):
    with pytest.raises(UserError, match="validation must be between 0 and 1"):
        Corpus.from_texts(["ab"], share)


def test_every_character_of_a_file_is_kept(tmp_path):
    text = "caf\u00e9 e\u0301\r\n\U0001f469\u200d\U0001f467\tend"
    (tmp_path / "a.txt").write_bytes(text.encode())
    assert read_texts([tmp_path / "a.txt"]) == [text]


def test_files_that_are_no_text_are_named(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "empty.txt").write_bytes(b"")
    with pytest.raises(UserError, match=r"latin.txt is not UTF-8: byte 0xe9 at position 3"):
        read_texts([tmp_path / "latin.txt"])
    with pytest.raises(UserError, match=r"empty\.txt is empty"):
        read_texts([tmp_path / "empty.txt"])
    with pytest.raises(UserError, match=r"cannot read .*nowhere\.txt: No such file"):
        read_texts([tmp_path / "nowhere.txt"])


@given(st.integers(2, 60), st.integers(1, 9))
def test_each_id_but_the_first_is_a_target_once_and_follows_its_input(n, T):
    ids = np.arange(n)
    inputs, targets = blocks(ids, T)
    assert inputs.shape == targets.shape == (math.ceil((n - 1) / T), T)
    counts = targets != IGNORE
    assert targets[counts].tolist() == ids[1:].tolist()
    assert (targets[counts] == inputs[counts] + 1).all()


def test_random_blocks_reach_both_ends_and_stay_inside():
    ids = np.arange(20)
    inputs, targets = random_blocks(ids, 5, 2000, rng=0)
    assert (targets == inputs + 1).all()
    assert (inputs[:, 0].min(), targets.max()) == (0, 19)
    assert (random_blocks(ids, 5, 7, rng=1)[0] == random_blocks(ids, 5, 7, rng=1)[0]).all()


def test_the_yardsticks_equal_plain_loops():
    corpus = Corpus.from_texts([TEXT + "zebra!"])
    train, validation, V = corpus.train.tolist(), corpus.validation.tolist(), corpus.tokenizer.vocab_size
    single, pairs, first = Counter(train), Counter(itertools.pairwise(train)), Counter(train[:-1])
    n = len(validation) - 1
    unigram = -sum(math.log2((single[c] + 1) / (len(train) + V)) for c in validation[1:]) / n
    bigram = -sum(math.log2((pairs[b, c] + 1) / (first[b] + V)) for b, c in itertools.pairwise(validation)) / n
    known = yardsticks(corpus)
    np.testing.assert_allclose([known["unigram"], known["bigram"]], [unigram, bigram], rtol=1e-12)
    assert known["bigram"] < known["unigram"]
    text, cut = TEXT + "zebra!", len(train) - 1
    sizes = [len(lzma.compress(t.encode(), preset=9 | lzma.PRESET_EXTREME)) for t in (text[:cut], text)]
    assert known["xz"] == 8 * (sizes[1] - sizes[0]) / (n + 1)
