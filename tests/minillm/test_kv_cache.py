import numpy as np
import pytest

from minillm.config import GPTConfig
from minillm.kv_cache import KeyValueCache
from minillm.ops.attention import causal

CONFIG = GPTConfig(vocab_size=5, n_positions=6, n_embd=8, n_layer=2, n_head=2)


def test_shapes_and_capacity():
    cache = KeyValueCache(CONFIG, 3, np.float32)
    assert cache.keys.shape == (2, 3, 2, 4, 6)
    assert cache.values.shape == (2, 3, 2, 6, 4)
    assert cache.ids.shape == (3, 6)
    assert cache.keys.dtype == np.float32
    assert cache.lengths.tolist() == [0, 0, 0]
    assert KeyValueCache(CONFIG, 3, np.float32, capacity=2).values.shape == (2, 3, 2, 2, 4)


@pytest.mark.parametrize("T", [1, 2])
def test_each_row_is_written_after_its_own_length(T):
    cache = KeyValueCache(CONFIG, 3, np.float64)
    cache.lengths = np.array([0, 3, 1])
    rng = np.random.default_rng(0)
    k, v = rng.normal(size=(2, 3, 2, T, 4))
    all_k, all_v = cache.writer(1, T)(k, v)
    assert all_k.shape == (3, 2, 3 + T, 4)
    for row, start in enumerate((0, 3, 1)):
        for t in range(T):
            assert (all_k[row, :, start + t] == k[row, :, t]).all()
            assert (all_v[row, :, start + t] == v[row, :, t]).all()
    assert np.count_nonzero(cache.keys) == k.size
    assert (cache.keys[0] == 0).all()


def test_take_and_replace():
    cache = KeyValueCache(CONFIG, 3, np.float64)
    cache.keys[...] = np.arange(3)[:, None, None, None]
    cache.ids[...] = np.arange(3)[:, None]
    cache.lengths = np.array([1, 2, 3])
    part = cache.take(np.array([2, 0, 2]))
    assert part.lengths.tolist() == [3, 1, 3]
    assert part.keys[0, :, 0, 0, 0].tolist() == [2, 0, 2]
    part.keys[...], part.lengths[...] = 9, 4
    assert cache.lengths.tolist() == [1, 2, 3]
    cache.replace(np.array([0, 2]), part.take(np.array([0, 1])))
    assert cache.lengths.tolist() == [4, 2, 4]
    assert cache.keys[1, :, 1, 1, 5].tolist() == [9, 1, 9]
    assert cache.ids[:, 0].tolist() == [2, 1, 0]


def test_concatenate_keeps_rows_and_takes_the_longest_room():
    rng = np.random.default_rng(0)
    caches = [KeyValueCache(CONFIG, rows, np.float32, capacity) for rows, capacity in ((2, 3), (1, 5))]
    for cache in caches:
        cache.keys[...] = rng.normal(size=cache.keys.shape)
        cache.values[...] = rng.normal(size=cache.values.shape)
        cache.ids[...] = rng.integers(5, size=cache.ids.shape)
        cache.lengths = cache.lengths + cache.ids.shape[1]
    both = KeyValueCache.concatenate(caches)
    assert both.values.shape == (2, 3, 2, 5, 4)
    assert both.keys.dtype == np.float32
    assert both.lengths.tolist() == [3, 3, 5]
    for rows, n, cache in ((slice(0, 2), 3, caches[0]), (slice(2, 3), 5, caches[1])):
        assert (both.keys[:, rows, :, :, :n] == cache.keys).all()
        assert (both.values[:, rows, :, :n] == cache.values).all()
        assert (both.ids[rows, :n] == cache.ids).all()


@pytest.mark.parametrize("lengths", [[2, 2], [0, 0], [1, 3]])
def test_new_tokens_go_behind_the_old_ones_and_see_them(lengths):
    cache = KeyValueCache(CONFIG, 2, np.float64)
    cache.lengths = np.array(lengths)
    positions, visible = cache.append(np.array([[1, 2], [3, 4]]))
    assert np.broadcast_to(positions, (2, 2)).tolist() == [[length, length + 1] for length in lengths]
    for row, length in enumerate(lengths):
        assert cache.ids[row, length : length + 2].tolist() == [[1, 2], [3, 4]][row]
    equally_long = lengths[0] == lengths[1]
    assert (visible is None) == equally_long
    sees = causal(2, lengths[0] + 2)[None, None] if equally_long else visible
    for row, t in np.ndindex(2, 2):
        assert np.flatnonzero(np.broadcast_to(sees, (2, 1, 2, sees.shape[3]))[row, 0, t]).tolist() == list(range(lengths[row] + t + 1))


@pytest.mark.parametrize("rows", [1, 3])
def test_of_one_sequence_the_heads_of_a_position_are_neighbours(rows):
    """So that all heads are one matrix, which must be a view: new tokens are written into it."""
    cache = KeyValueCache(CONFIG, rows, np.float64, capacity=4)
    cache.values[...] = np.random.default_rng(0).normal(size=cache.values.shape)
    last = cache.take(np.arange(rows) == rows - 1)
    none = KeyValueCache(CONFIG, 0, np.float64)  # of a longer capacity
    for one in (last, KeyValueCache.concatenate([last, none]), KeyValueCache(CONFIG, 1, np.float32)):
        values = one.values.swapaxes(2, 3).reshape(2, -1, 8)
        assert np.shares_memory(values, one.values)
    assert (last.values == cache.values[:, -1:]).all()
