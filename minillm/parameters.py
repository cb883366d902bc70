r"""θ: one flat vector that holds every parameter, with named views into it.

An optimizer step, a gradient check, a Hessian–vector product and a checkpoint are then each a few lines of vector
arithmetic, and the gradient is one vector of the same layout.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping

import numpy as np


class Parameters(Mapping[str, np.ndarray]):
    r"""Named arrays that lie one after the other in one contiguous vector $\theta \in \mathbb{R}^P$.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Name and shape of each array, in the order in which they lie in the vector.
    vector : ndarray of shape (P,), optional
        The vector to view (not copied); zeros when absent.
    dtype : dtype
        The dtype of a vector made here; ignored when ``vector`` is given.

    Raises
    ------
    ValueError
        If ``vector`` is not a contiguous vector of exactly the right length.

    Notes
    -----
    A name is found with or without the prefix ``transformer.`` that ``GPT2LMHeadModel`` puts before it.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], vector: np.ndarray | None = None, dtype: np.dtype | type = np.float64
    ) -> None:
        self.shapes = dict(shapes)
        self.slices: dict[str, slice] = {}
        size = 0
        for name, shape in self.shapes.items():
            self.slices[name] = slice(size, size + math.prod(shape))
            size = self.slices[name].stop
        self._view(np.zeros(size, dtype) if vector is None else vector, size)

    def _view(self, vector: np.ndarray, size: int) -> None:
        if vector.shape != (size,) or not vector.flags.c_contiguous:
            raise ValueError(f"expected a contiguous vector of {size} parameters, got shape {vector.shape}")
        self.vector = vector
        self._views = {name: vector[span].reshape(self.shapes[name]) for name, span in self.slices.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        view = self._views.get(name)
        if view is None:
            view = self._views.get(name.removeprefix("transformer."))
        if view is None:
            near = difflib.get_close_matches(name, self._views, n=3)
            raise KeyError(f"no parameter {name!r}" + (f"; near it: {', '.join(near)}" if near else ""))
        return view

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __reduce__(self) -> tuple:
        """Pickled as one vector, with the views made anew; else each view would become a copy."""
        return Parameters, (self.shapes, self.vector)

    def like(self, vector: np.ndarray | None = None) -> Parameters:
        """Return the same names over another vector; over zeros of the same dtype when none is given."""
        twin = object.__new__(Parameters)
        twin.shapes, twin.slices = self.shapes, self.slices
        twin._view(np.zeros_like(self.vector) if vector is None else vector, self.vector.size)
        return twin

    def name_at(self, index: int) -> tuple[str, tuple[int, ...]]:
        """Return the name of the array that holds position ``index`` of the vector, and the index within it."""
        for name, span in self.slices.items():
            if span.start <= index < span.stop:
                inside = np.unravel_index(index - span.start, self.shapes[name])
                return name, tuple(int(i) for i in inside)
        raise IndexError(f"position {index} is outside of a vector of {self.vector.size} parameters")


class Pieces(dict[str, np.ndarray]):
    """Arrays of a layout, each made when it is first asked for, to be filled; those never asked for are zero.

    A backward pass that writes into them needs memory for the gradient as it lets go of activations, not before.
    """

    def __init__(self, layout: Parameters) -> None:
        self.layout = layout

    def __missing__(self, name: str) -> np.ndarray:
        piece = self[name] = np.empty(self.layout.shapes[name], self.layout.vector.dtype)
        return piece

    def vector(self) -> np.ndarray:
        """Return the vector that they make up."""
        for name in self.layout.keys() - self.keys():
            self[name][...] = 0
        return np.concatenate([self[name].reshape(-1) for name in self.layout])
