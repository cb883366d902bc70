r"""From strings to their numbers, whole arrays at once.

Among the known strings a few columns of characters tell any two apart (of up, down, left, right the first alone). With
the code points $c_j$ in these columns and odd weights $w_j$ under which no two known strings agree, the key
$\sum_j w_j c_j \bmod 2^{64}$ of a string names the one candidate, and a comparison in full says whether it is that one.
"""

from collections.abc import Sequence

import numpy as np

from envs.rng import GAMMA, mix


class Lookup:
    """The place of each string in a list of different strings, `len(texts)` for a string that is not in it.

    Parameters
    ----------
    texts : ndarray of str, shape (A,)
    """

    def __init__(self, texts: np.ndarray):
        self._numbers = {text: a for a, text in enumerate(texts.tolist())}
        self._dtype = f"U{texts.dtype.itemsize // 4 + 1}"  # one more: a longer string, cut, still differs from all
        known = self._code_points(texts)
        self._columns = _telling_columns(known)
        self._weights = _weights(known[self._columns])
        keys = self._keys(known)
        order = np.argsort(keys)
        self._sorted = keys[order]
        self._order = np.append(order, order[-1])  # beyond the last key: compared with its string, and differs
        self._known = known

    def _code_points(self, texts: np.ndarray) -> np.ndarray:
        """The code points, uint32 of shape (width, N)."""
        return texts.astype(self._dtype, order="C").view(np.uint32).reshape(len(texts), -1).T

    def _keys(self, points: np.ndarray) -> np.ndarray:
        return self._weights @ points[self._columns]

    def array(self, texts: np.ndarray) -> np.ndarray:
        """Return the number of each string of a NumPy array (N,), where trailing NULs cannot be told from padding."""
        points = self._code_points(texts)
        candidates = self._order.take(self._sorted.searchsorted(self._keys(points)))
        same = (self._known.take(candidates, axis=1) == points).all(axis=0)
        return np.where(same, candidates, len(self._numbers))

    def sequence(self, texts: Sequence[str]) -> np.ndarray:
        """Return the number of each string of a sequence."""
        unknown = len(self._numbers)
        return np.array([self._numbers.get(text, unknown) for text in texts], dtype=np.intp)


def _telling_columns(points: np.ndarray) -> np.ndarray:
    """The first columns that tell all strings apart, each of which tells more than those before it."""
    columns, groups = [0], np.unique(points[0], return_inverse=True)[1]
    for column in range(1, len(points)):
        finer = np.unique(groups * (1 << 21) + points[column], return_inverse=True)[1]  # code points are below 2²¹
        if finer.max() > groups.max():
            columns.append(column)
            groups = finer
    return np.array(columns)


def _weights(points: np.ndarray) -> np.ndarray:
    weights = mix(np.arange(1, len(points) + 1, dtype=np.uint64) * np.uint64(GAMMA)) | np.uint64(1)
    while len(np.unique(weights @ points)) < points.shape[1]:
        weights = mix(weights) | np.uint64(1)
    return weights
