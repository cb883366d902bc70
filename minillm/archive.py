"""Reading an ``.npz`` that somebody else wrote: no pickle, nothing unpacked, no more memory than the file has bytes.

The parts of such a file are stored as they are. So a part that is compressed, or all of them together being longer than the
file, is a bomb; and an array has exactly the bytes that its header promises, which is looked at before anything is made.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Collection
from typing import IO

import numpy as np

from minillm.errors import CheckpointError

KINDS = "biufcU"  # of dtypes: numbers and text


def read_arrays(file: IO[bytes], names: Collection[str]) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file.

    Parameters
    ----------
    file : binary file
    names : collection of str
        Those that may be in it.

    Raises
    ------
    CheckpointError
        If a part is damaged, compressed, foreign, there twice, or is no array of numbers or text. What zipfile and NumPy say of other
        damage comes as it is (:data:`minillm.checkpoint.DAMAGE`).
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        for part in parts:
            if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
                raise CheckpointError(f"its part {part.filename!r} is compressed")
        found = [part.filename.removesuffix(".npy") for part in parts]
        foreign = sorted(set(found) - set(names))
        if foreign or len(set(found)) < len(found):
            raise CheckpointError(f"it is not a checkpoint of minillm, having a part {foreign[0]!r}" if foreign else "it has a part twice")
        if sum(part.file_size for part in parts) > size:
            raise CheckpointError("its parts are longer than the file")
        return {name: _array(_bytes(archive, part), part.filename) for name, part in zip(found, parts, strict=True)}


def _bytes(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(part)
    except zipfile.BadZipFile:
        raise CheckpointError(f"its part {part.filename!r} is damaged") from None


def _array(data: bytes, name: str) -> np.ndarray:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise CheckpointError(f"its part {name!r} is of version {version} of the format")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    start = file.tell()
    if dtype.kind not in KINDS or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise CheckpointError(f"its part {name!r} is not the {dtype} array of shape {shape} that it says")
    flat = np.frombuffer(data, dtype, offset=start) if math.prod(shape) else np.zeros(0, dtype)
    return flat.reshape(shape).astype(dtype.newbyteorder("="))
