"""Tensors of a checkpoint → one parameter vector; all is checked before the vector is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minillm.errors import CheckpointError, UserError
from minillm.parameters import Parameters
from minillm.pretrained.gguf_file import GGUF
from minillm.pretrained.safetensors import SafeTensors

TensorFile = SafeTensors | GGUF
FLOATS = ("F64", "F32", "F16", "BF16")


def load_vector(
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, TensorFile],
    rename: Callable[[str], str | None],
    dtype: Any = None,
    described: str = "config.json",
) -> np.ndarray:
    """Return the parameters as one vector.

    Parameters
    ----------
    shapes : mapping
        Name and shape of each parameter.
    tensors : mapping of str to SafeTensors or GGUF
        See :func:`minillm.pretrained.directory.open_tensors`.
    rename : callable
        A tensor's name in the file → its parameter's name, or None for one that is not needed.
    dtype : dtype, optional
        float32, or float64 where the file holds any, when None.
    described : str
        What the shapes come from, for messages.

    Raises
    ------
    CheckpointError
        If a tensor is missing, unknown, of another shape, not of floats, or not finite; the message names file and tensor.
    """
    sources = _matched(shapes, tensors, rename, described)
    if dtype is None:
        dtype = np.float64 if any(file.codes[tensor] == "F64" for tensor, file in sources.values()) else np.float32
    if np.dtype(dtype).kind not in "fc":
        raise UserError(f"dtype must be a floating or complex one, got {np.dtype(dtype)}")
    theta = Parameters(shapes, np.empty(sum(math.prod(shape) for shape in shapes.values()), dtype))
    for name, (tensor, file) in sources.items():
        with np.errstate(over="ignore"):
            theta[name][...] = file[tensor]
        finite = np.isfinite(theta[name])
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise CheckpointError(f"{file.path}: {tensor!r} is {file[tensor][where]} at index {where}, not a finite {theta.vector.dtype}")
    return theta.vector


def require_tied(tensors: Mapping[str, SafeTensors], head: str, embedding: np.ndarray) -> None:
    """Raise :class:`CheckpointError` if the file holds a head that config.json ties and that is not the embedding."""
    file = tensors.get(head)
    if file is not None and not np.array_equal(file[head].astype(embedding.dtype), embedding):
        raise CheckpointError(f"{file.path}: {head!r} is not the embedding, but config.json ties them (tie_word_embeddings)")


def _matched(
    shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, TensorFile], rename: Callable[[str], str | None], described: str
) -> dict[str, tuple[str, TensorFile]]:
    """Parameter → tensor and file, once every shape is right."""
    found: dict[str, tuple[str, TensorFile]] = {}
    for tensor, file in tensors.items():
        name = rename(tensor)
        if name is None:
            continue
        if name not in shapes:
            raise CheckpointError(f"{file.path}: {tensor!r:.80} has no place in the model that {described} describes")
        if name in found:
            raise CheckpointError(f"{file.path}: {tensor!r} and {found[name][0]!r} are the same parameter")
        if file.codes[tensor] not in FLOATS:
            raise CheckpointError(f"{file.path}: {tensor!r} has dtype {file.codes[tensor]}, expected one of {', '.join(FLOATS)}")
        if file.shape(tensor) != shapes[name]:
            shape = list(file.shape(tensor))
            raise CheckpointError(f"{file.path}: {tensor!r} has shape {shape}, {described} makes it {list(shapes[name])}")
        found[name] = tensor, file
    for name in shapes:
        if name not in found:
            where = next(iter(tensors.values())).path.parent if tensors else "the checkpoint"
            raise CheckpointError(f"{where}: the tensor {name!r} is missing")
    return found
