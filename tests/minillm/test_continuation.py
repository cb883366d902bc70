import numpy as np
import pytest

from minillm.continuation import continue_text, prompt_ids
from minillm.decoding import Sampling
from minillm.errors import UserError
from minillm.tokenizer import CharTokenizer

TOKENIZER = CharTokenizer("abcdef")


@pytest.fixture
def model(random_model):
    return random_model(vocab_size=7, n_positions=6, seed=2)


def test_the_text_comes_character_by_character(model):
    seen = []
    text = continue_text(model, TOKENIZER, "ab", 20, Sampling(top_k=3), rng=0, on_text=seen.append)
    assert "".join(seen) == text
    assert all(len(part) <= 1 for part in seen)
    assert text == continue_text(model, TOKENIZER, "ab", 20, Sampling(top_k=3), rng=0)
    assert text != continue_text(model, TOKENIZER, "ab", 20, Sampling(top_k=3), rng=1)


def test_temperature_zero_is_greedy_past_the_context_by_the_documented_rule(model):
    """Equal to a loop without a cache: a full window of 6 keeps its last 3, which move to position 0."""
    window, expected = TOKENIZER.encode("abc").tolist(), []
    for _ in range(40):
        token = int(model.forward(np.array(window))[0][-1].argmax())
        if token == TOKENIZER.eos_token_id:
            break
        expected.append(token)
        window = [*(window[-3:] if len(window) == 6 else window), token]
    text = continue_text(model, TOKENIZER, "abc", 40, Sampling(temperature=0), rng=0)
    assert text == TOKENIZER.decode(expected)
    assert len(text) > 6


def test_of_a_long_prompt_the_end_is_read(model):
    sampling = Sampling(temperature=0)
    long = continue_text(model, TOKENIZER, "fedcbaabcdef", 5, sampling, rng=0)
    assert long == continue_text(model, TOKENIZER, "abcdef", 5, sampling, rng=0)


def test_an_empty_prompt_is_the_start_of_a_text():
    assert prompt_ids(TOKENIZER, "", 5).tolist() == [TOKENIZER.eos_token_id]


def test_a_character_that_the_corpus_lacks_is_named_with_what_to_do():
    with pytest.raises(UserError, match=r"'é' \(U\+00E9\) at position 1 .* write the prompt with 'abcdef', or fit a model on a text that"):
        prompt_ids(TOKENIZER, "aéb", 5)
