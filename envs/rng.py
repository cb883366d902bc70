r"""Counter-based random numbers: the $d$-th number of environment $i$ under a seed is a function, not a state.

With $m$ the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014),
$\gamma$ its odd constant and all arithmetic modulo $2^{64}$,

$$ k_i = m(w \oplus m(i\gamma + c)), \qquad
   u_{i,d} = 2^{-53} \lfloor m(k_i \oplus m(d\gamma)) / 2^{11} \rfloor \in [0, 1), $$

where the word $w$ is NumPy's `SeedSequence` of the seed. A number depends on (seed, environment, draw) alone, so row
$i$ of a batch of any size is environment $i$ alone, and skipping a draw costs nothing.
"""

import operator
from collections.abc import Callable

import numpy as np

GAMMA = 0x9E3779B97F4A7C15
OFFSET = 0xD1B54A32D192ED03
MASK = (1 << 64) - 1
_ROUNDS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(27)), (np.uint64(0x94D049BB133111EB), np.uint64(31))


def check_seed(seed: int | None) -> int | None:
    """Return the seed as a Python int (or None); refuse booleans, floats and negative numbers.

    Raises
    ------
    TypeError
        If the seed is not an integer.
    ValueError
        If the seed is negative.
    """
    if seed is None:
        return None
    if isinstance(seed, (bool, np.bool_)) or not hasattr(seed, "__index__"):
        raise TypeError(f"seed must be None or an integer >= 0, got {seed!r}")
    if (number := operator.index(seed)) < 0:
        raise ValueError(f"seed must be None or an integer >= 0, got {number}")
    return number


def seed_word(seed: int | None) -> int:
    """Fold a seed of any size (None: fresh entropy) into 64 bits."""
    return int(np.random.SeedSequence(check_seed(seed)).generate_state(1, np.uint64)[0])


def mix(z: np.ndarray) -> np.ndarray:
    """Return SplitMix64's finaliser of an array of uint64 (a bijection of the 64-bit words)."""
    shifted = z >> np.uint64(30)
    z = z ^ shifted
    for factor, shift in _ROUNDS:
        z *= factor
        np.right_shift(z, shift, out=shifted)
        z ^= shifted
    return z


def stream_keys(word: int, environments: np.ndarray) -> np.ndarray:
    r"""Return the keys $k_i = m(w \oplus m(i\gamma + c))$, uint64, of the given environment indices."""
    index = np.asarray(environments, dtype=np.uint64)
    return mix(np.uint64(word) ^ mix(index * np.uint64(GAMMA) + np.uint64(OFFSET)))


def uniforms(keys: np.ndarray, draws: np.ndarray) -> np.ndarray:
    r"""Return $u_{i,d}$ in $[0, 1)$ (float64, multiples of $2^{-53}$) for uint64 arrays of keys and draws."""
    bits = mix(keys ^ mix(draws * np.uint64(GAMMA)))
    bits >>= np.uint64(11)
    return bits.view(np.int64) * 2.0**-53


class Streams:
    """The streams of n environments, each at its own draw; numbers are computed for a block of draws at a time.

    Parameters
    ----------
    word : int, the folded seed
    n : int
    lots : callable, numbers -> what is made of each of them, by the block (:meth:`envs.mdp.ExactMDP.lots`)
    """

    SIZE = 1 << 13  # numbers in a block, at most: temporaries of this size stay in the cache

    def __init__(self, word: int, n: int, lots: Callable[[np.ndarray], np.ndarray]):
        self._make_lots = lots
        self._n, self._block = n, max(1, min(128, self.SIZE // n))
        self._keys, self._draws = stream_keys(word, np.arange(n)), np.zeros(n, dtype=np.uint64)
        self._fill()

    def _fill(self) -> None:
        """Compute the numbers (block, n) that come next; while all rows are at the same draw, they share its hash."""
        first = self._draws[:1] if (self._draws == self._draws[0]).all() else self._draws
        self._u = uniforms(self._keys, first + np.arange(self._block, dtype=np.uint64)[:, None])
        self._lots = self._make_lots(self._u)
        for array in (self._u, self._lots):
            array.flags.writeable = False
        self._used = 0
        self._place: np.ndarray | None = None  # index of each row's next number, once the rows have parted

    def peek(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the next number of each stream and its lot, read-only, without moving on."""
        if self._place is None:
            return self._u[self._used], self._lots[self._used]
        return self._u.take(self._place), self._lots.take(self._place)

    def skip(self, rows: np.ndarray | None = None) -> None:
        """Move each stream (or the rows of a bool mask) on by one."""
        if rows is not None and self._place is None:
            self._place = np.arange(self._used * self._n, (self._used + 1) * self._n)
        if self._place is not None:
            self._place += self._n if rows is None else self._n * rows
        self._used += 1
        if self._used == self._block:
            self._draws += np.uint64(self._block) if self._place is None else (self._place // self._n).astype(np.uint64)
            self._fill()
