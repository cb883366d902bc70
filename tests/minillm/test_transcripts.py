import numpy as np
import pytest

import envs
from minillm.experience import IGNORE
from minillm.tokenizer import CharTokenizer
from minillm.training import collect, uniform_policy
from minillm.transcripts import Transcripts, transcript_ids


@pytest.fixture(scope="module")
def played():
    mdp = envs.exact("grid/empty-3")
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts, "-.\n0123456789"])
    world = envs.make_vector("grid/empty-3", 12, seed=0, autoreset="disabled")
    return tokenizer, collect(world, uniform_policy(tokenizer, mdp.action_texts, rng=0))


def loop_transcripts(tokenizer, experience):
    """Step by step, token by token."""
    rows, end = [], tokenizer.eos_token_id
    for k in range(len(experience)):
        rows.append([*tokenizer.encode(str(experience.states[k])), end])
        rows[-1] += [i for i in experience.action_ids[k].tolist() if i != IGNORE]
        rows[-1] += [*tokenizer.encode(f"{experience.rewards[k]:g}\n{experience.next_states[k]}"), end]
    return rows


def test_transcripts_equal_the_loop(played):
    tokenizer, experience = played
    ids, lengths = transcript_ids(tokenizer, experience)
    expected = loop_transcripts(tokenizer, experience)
    assert ids.shape == (len(expected), lengths.max())
    for row, length, tokens in zip(ids, lengths, expected, strict=True):
        assert row[:length].tolist() == tokens
        assert (row[length:] == tokenizer.eos_token_id).all()


def test_a_batch_has_each_token_after_those_before_it(played):
    tokenizer, experience = played
    ids, lengths = transcript_ids(tokenizer, experience)
    rows = np.random.default_rng(3).integers(len(ids), size=5)
    inputs, targets = Transcripts(tokenizer, experience).draw(5, np.random.default_rng(3))
    assert inputs.shape == targets.shape == (5, lengths[rows].max() - 1)
    for row, k in enumerate(rows):
        n = lengths[k] - 1
        assert inputs[row, :n].tolist() == ids[k, :n].tolist()
        assert targets[row, :n].tolist() == ids[k, 1 : n + 1].tolist()
        assert (targets[row, n:] == IGNORE).all()
