import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.decoding import read
from minillm.memory import Memory


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=6), st.data())
def test_what_was_added_comes_back_in_any_order(random_model, parts, data):
    """Parts of N prompts with room for P + 2 tokens: those of the memory go on as those that were read alone."""
    model = random_model(vocab_size=5, n_positions=12)
    rng, memory, prompts = np.random.default_rng(0), Memory(model), []
    for N, P in parts:
        ids = rng.integers(5, size=(N, P))
        memory.add(*read(model, ids, np.full(N, P), room=P + 2))
        prompts += list(ids)
    index = np.array(data.draw(st.lists(st.integers(0, len(prompts) - 1), min_size=1, max_size=8)))
    past, logits = memory.take(index)
    z, _ = model.forward(np.full((len(index), 1), 3), past=past, keep=False)
    for row, k in enumerate(index):
        alone, _ = model.forward(np.append(prompts[k], 3))
        np.testing.assert_allclose(logits[row], alone[-2], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(z[row, 0], alone[-1], rtol=1e-10, atol=1e-12)


def test_there_is_room_for_as_many_again_each_time(random_model, monkeypatch):
    model = random_model(vocab_size=5, n_positions=12)
    memory, copies = Memory(model), []
    concatenate = staticmethod(type(read(model, np.ones((1, 1), int), np.ones(1, int))[0]).concatenate)
    monkeypatch.setattr("minillm.memory.KeyValueCache.concatenate", lambda caches: copies.append(len(caches)) or concatenate(caches))
    for _ in range(64):
        memory.add(*read(model, np.ones((1, 3), int), np.full(1, 3), room=4))
    assert len(copies) == 6


@pytest.mark.parametrize("N", [1, 3])
def test_a_copy_is_given(random_model, N):
    model = random_model(vocab_size=5, n_positions=12)
    memory = Memory(model)
    memory.add(*read(model, np.ones((N, 3), int), np.full(N, 3), room=4))
    past, logits = memory.take(np.zeros(2, int))
    past.values[...] = logits[...] = 7
    again, z = memory.take(np.zeros(2, int))
    assert not (again.values == 7).any()
    assert not (z == 7).any()
