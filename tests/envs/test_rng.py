import numpy as np
import pytest

from envs.rng import GAMMA, MASK, OFFSET, Streams, check_seed, seed_word, stream_keys, uniforms


def plain_mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_array_form_equals_the_plain_integers():
    word = seed_word(5)
    u = uniforms(stream_keys(word, np.arange(4))[:, None], np.arange(6, dtype=np.uint64))
    for i in range(4):
        key = plain_mix(word ^ plain_mix((i * GAMMA + OFFSET) & MASK))
        expected = [(plain_mix(key ^ plain_mix((d * GAMMA) & MASK)) >> 11) * 2.0**-53 for d in range(6)]
        assert u[i].tolist() == expected


def test_splitmix64_reference_value():
    assert plain_mix(GAMMA) == 0xE220A8397B1DCDAF  # first output of SplitMix64 seeded with 0


def test_neighbouring_seeds_and_environments_share_no_number():
    keys = np.concatenate([stream_keys(seed_word(seed), np.arange(64)) for seed in (0, 1)])
    u = uniforms(keys[:, None], np.arange(200, dtype=np.uint64))
    assert len(np.unique(u)) == u.size
    assert abs(u.mean() - 0.5) < 0.01
    assert u.min() >= 0
    assert u.max() < 1


@pytest.mark.parametrize("seed", [True, 1.0, "1", np.bool_(False), np.float64(2)])
def test_seed_of_wrong_type(seed):
    with pytest.raises(TypeError, match="seed must be"):
        check_seed(seed)


def test_seed_values():
    assert check_seed(np.int64(3)) == 3
    assert check_seed(None) is None
    assert seed_word(2**200) == seed_word(2**200) != seed_word(2**200 + 1)
    assert seed_word(None) != seed_word(None)
    with pytest.raises(ValueError, match="-1"):
        check_seed(-1)


def test_streams_move_on_row_by_row():
    streams, keys, draws = Streams(7, 3, np.negative), stream_keys(7, np.arange(3)), np.zeros(3, dtype=np.uint64)
    rng = np.random.default_rng(0)
    for step in range(200):
        u, lots = streams.peek()
        assert u.tolist() == (-lots).tolist() == uniforms(keys, draws).tolist()
        rows = None if step % 3 else rng.random(3) < 0.5
        streams.skip(rows)
        draws += np.uint64(1) if rows is None else rows.astype(np.uint64)
