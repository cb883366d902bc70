r"""The GGUF format: metadata, descriptions of tensors, and their bytes, quantised or not (specification: docs/gguf.md of the ggml project).

``GGUF``, version, number of tensors, number of keys; then each key with its typed value; then each tensor's name, axes (the fastest
first), type and offset; then, aligned, the data. A reader that counts every byte it takes knows a truncated file from a whole one.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minillm.errors import CheckpointError, MissingExtra

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
PLAIN = {0: ("F32", "<f4"), 1: ("F16", "<f2"), 28: ("F64", "<f8"), 30: ("BF16", "<u2")}  # types that need no dequantising


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    kind: int
    data: np.ndarray


class GGUF(Mapping[str, np.ndarray]):
    """The tensors of a file, by name; an array is dequantised to float32 when it is asked for, its axes in NumPy's order.

    Parameters
    ----------
    path : path of the file

    Attributes
    ----------
    path : pathlib.Path
    metadata : dict of str to bool, int, float, str or list
    codes : dict of str to str
        The dtype of each array as it is returned (``"F32"`` for quantised ones), under safetensors' names.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, or no GGUF of version 2 or 3; the message names the file and the key.
    MissingExtra
        If it is quantised and the package gguf, which knows how, is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._buffer, self._at = _mapped(self.path), 4
        (version,) = self._unpack("<I")
        if version not in (2, 3):
            raise CheckpointError(f"{self.path}: is GGUF of version {version}, expected 2 or 3 (little-endian)")
        tensors, keys = self._unpack("<QQ")
        self.metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = self._string()
            self.metadata[key] = self._value(key, *self._unpack("<I"))
        infos = [(self._string(), self._axes(), *self._unpack("<IQ")) for _ in range(tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise CheckpointError(f"{self.path}: general.alignment is {alignment!r:.40}, expected an integer of at least 1")
        start = -(-self._at // alignment) * alignment
        self._tensors = {name: self._tensor(name, axes, kind, start + offset) for name, axes, kind, offset in infos}
        self.codes = {name: PLAIN.get(tensor.kind, PLAIN[0])[0] for name, tensor in self._tensors.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        shape, kind, data = self._tensors[name]
        if kind not in PLAIN:
            package = _package()
            data = package.quants.dequantize(data, package.GGMLQuantizationType(kind))
        elif PLAIN[kind][0] == "BF16":
            data = (data.astype(np.uint32) << 16).view(np.float32)
        return data.reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array without touching its data."""
        return self._tensors[name].shape

    def _take(self, count: int) -> bytes:
        if self._at + count > len(self._buffer):
            raise CheckpointError(f"{self.path}: is truncated, or no GGUF: {count} bytes wanted at {self._at}, it has {len(self._buffer)}")
        self._at += count
        return self._buffer[self._at - count : self._at]

    def _unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self._take(struct.calcsize(form)))

    def _string(self) -> str:
        return self._take(*self._unpack("<Q")).decode("utf-8", "replace")

    def _value(self, key: str, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            kind, length = self._unpack("<IQ")
            if kind == STRING:
                return [self._string() for _ in range(length)]
            form = self._form(key, kind)
            return np.frombuffer(self._take(length * struct.calcsize(form)), np.dtype(form)).tolist()
        return self._unpack(self._form(key, kind))[0]

    def _form(self, key: str, kind: int) -> str:
        if kind not in SCALARS:
            raise CheckpointError(f"{self.path}: {key!r:.80} has a value of type {kind}, which GGUF does not have there")
        return "<" + SCALARS[kind]

    def _axes(self) -> tuple[int, ...]:
        return self._unpack(f"<{min(self._unpack('<I')[0], len(self._buffer))}Q")[::-1]

    def _tensor(self, name: str, shape: tuple[int, ...], kind: int, begin: int) -> _Tensor:
        elements, size = self._block(name, kind)
        count = math.prod(shape)
        if count < 1 or count % elements or (shape and shape[-1] % elements) or begin + count // elements * size > len(self._buffer):
            where = f"of type {kind} and shape {list(shape)!r:.80} from byte {begin}"
            raise CheckpointError(f"{self.path}: {name!r:.80} {where} does not fit into {len(self._buffer)} bytes: truncated or damaged")
        dtype = PLAIN[kind][1] if kind in PLAIN else "u1"
        data = np.frombuffer(self._buffer, dtype, count // elements * size // np.dtype(dtype).itemsize, begin)
        return _Tensor(shape, kind, data if kind in PLAIN else data.reshape(*shape[:-1], -1))

    def _block(self, name: str, kind: int) -> tuple[int, int]:
        """Elements and bytes of one block of a type."""
        if kind in PLAIN:
            return 1, np.dtype(PLAIN[kind][1]).itemsize
        package = _package()
        try:
            return package.GGML_QUANT_SIZES[package.GGMLQuantizationType(kind)]
        except (ValueError, KeyError):
            raise CheckpointError(f"{self.path}: {name!r:.80} has type {kind}, which the package gguf does not know") from None


def _package() -> Any:
    try:
        import gguf
    except ImportError:
        raise MissingExtra("a quantised GGUF file", "gguf", "gguf") from None
    return gguf


def _mapped(path: Path) -> mmap.mmap:
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"GGUF":
                raise CheckpointError(f"{path}: does not begin with 'GGUF'")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
