r"""Counter-based random numbers: u = f(seed, environment, draw), with no state but a counter.

Draw d of environment i is a pure function of (seed, i, d), so row i of any batch equals environment i alone, bit for bit, and
streams of neighbouring seeds or environments have nothing in common. The mixer is the finaliser of SplitMix64 (Steele, Lea,
Flood 2014, "Fast splittable pseudorandom number generators"), a bijection of 64-bit words, once in Python integers and once in
NumPy's ``uint64``.
"""

from __future__ import annotations

import numbers

import numpy as np

from envs.errors import EnvError

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
STREAM = 0xD1342543DE82EF95
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def mix(z: int) -> int:
    """Return the 64-bit finaliser of ``z``, in Python integers."""
    z = (z ^ (z >> 30)) * _MULTIPLIERS[0] & MASK
    z = (z ^ (z >> 27)) * _MULTIPLIERS[1] & MASK
    return z ^ (z >> 31)


def mix_array(z: np.ndarray) -> np.ndarray:
    """Return :func:`mix` of each entry of a ``uint64`` array."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_MULTIPLIERS[0])
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_MULTIPLIERS[1])
    return z ^ (z >> np.uint64(31))


def seed_word(seed: int | None) -> int:
    """Fold a seed of any size into 64 bits; None takes fresh entropy.

    Raises
    ------
    TypeError, EnvError
        If the seed is not an integer, or is negative. 0 is a seed like any other.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, numbers.Integral)):
        raise TypeError(f"seed must be an integer or None, got {seed!r}")
    if seed is not None and seed < 0:
        raise EnvError(f"seed must be at least 0, got {seed}")
    return int(np.random.SeedSequence(None if seed is None else int(seed)).generate_state(1, np.uint64)[0])


def keys(seed: int | None, environments: np.ndarray) -> np.ndarray:
    """Return the ``uint64`` key of each environment number under a seed."""
    words = np.uint64(seed_word(seed)) + np.asarray(environments, dtype=np.uint64) * np.uint64(STREAM)
    return mix_array(words)


def uniform(key: int, draw: int) -> float:
    """Return draw number ``draw`` of a stream, a float in [0, 1), in Python integers."""
    return (mix(key ^ mix((draw * GOLDEN + STREAM) & MASK)) >> 11) * 2.0**-53


def uniform_array(key: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Return :func:`uniform` for arrays of keys and draw numbers (``uint64``)."""
    counter = mix_array(draw * np.uint64(GOLDEN) + np.uint64(STREAM))
    return (mix_array(key ^ counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53
