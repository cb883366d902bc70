"""Which action each of many strings is."""

from collections.abc import Sequence

import numpy as np


class ActionIndex:
    """Callable: N strings -> the index of each among A canonical strings, A for every other; see `ExactMDP.action_index`.

    Strings in a NumPy array are not compared with each of the A: the only one that a string can be is found by one of its
    characters, if there is a column in which the A all differ, otherwise by their order; then the two are compared in full.

    Parameters
    ----------
    canonical : ndarray of str, shape (A,), all different
    """

    def __init__(self, canonical: np.ndarray):
        self.canonical, self.invalid = canonical, len(canonical)
        self.numbers = {text: a for a, text in enumerate(canonical.tolist())}
        order = np.argsort(canonical)
        self._sorted, self._order = canonical[order], np.append(order, order[-1])  # what sorts after the last is none
        self._column, self._by_point = self._telling_column()

    def _telling_column(self) -> tuple[int | None, np.ndarray]:
        """A column in which all strings differ (None: there is none), and their index by the code point there."""
        for column, points in enumerate(self.canonical.view(np.uint32).reshape(self.invalid, -1).T):
            if len(np.unique(points)) == self.invalid:
                by_point = np.zeros(int(points.max()) + 1, dtype=np.intp)
                by_point[points] = np.arange(self.invalid)
                return column, by_point
        return None, np.zeros(0, dtype=np.intp)

    def __call__(self, texts: Sequence[str] | np.ndarray) -> np.ndarray:
        """Return the indices (N,) as integers; raise TypeError if an entry is not a string."""
        if isinstance(texts, np.ndarray) and texts.dtype.kind == "U":
            found = self._nearest(texts)
            wrong = self.canonical.take(found) != texts
            if wrong.size and wrong[wrong.argmax()]:
                found[wrong] = self.invalid
            return found
        if isinstance(texts, str):
            raise TypeError(f"expected a sequence of action strings, got the single string {texts!r}")
        if set(map(type, texts)) != {str}:
            for i, text in enumerate(texts):
                if not isinstance(text, str):
                    raise TypeError(f"action {i} must be a str, got {type(text).__name__}")
        numbers, invalid = self.numbers, self.invalid
        return np.array([numbers.get(text, invalid) for text in texts], dtype=np.intp)

    def _nearest(self, texts: np.ndarray) -> np.ndarray:
        """The only action that each string can be."""
        if self._column is not None and texts.dtype == self.canonical.dtype and texts.flags.c_contiguous:
            return self._by_point.take(texts.view(np.uint32)[self._column :: texts.itemsize // 4], mode="clip")
        return self._order.take(self._sorted.searchsorted(texts))
