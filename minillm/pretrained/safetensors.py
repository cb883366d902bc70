r"""The safetensors format: a length (8 bytes, little-endian), a JSON header of that length, and the arrays' bytes one after another.

The header gives each array's name ``{"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}``, offsets counted from the end of
the header; ``__metadata__`` maps strings to strings. The arrays fill the rest of the file without gap or overlap. A reader that
checks this knows before it touches any data that all of it is there. (Format: the README of the safetensors project.)
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minillm.checkpoint import write_atomically
from minillm.errors import CheckpointError
from minillm.json_object import parse_object

MAX_HEADER = 100_000_000  # the format's own limit
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "|b1", "C64": "<c8",
}  # fmt: skip
CODES = {np.dtype(kind): code for code, kind in DTYPES.items() if code != "BF16"}
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class SafeTensors(Mapping[str, np.ndarray]):
    r"""The arrays of a file, by name: read-only views into the file, which the operating system reads where it is touched.

    Parameters
    ----------
    path : path of the file

    Attributes
    ----------
    path : pathlib.Path
    codes : dict of str to str
        The format's name of each array's dtype, such as ``"BF16"``.
    metadata : dict of str to str

    Raises
    ------
    CheckpointError
        If the file is missing or is not whole and consistent; the message names the file and the array.

    Notes
    -----
    NumPy has no bfloat16: such an array is widened to float32 when it is asked for (exact: 16 zero bits are appended).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.codes: dict[str, str] = {}
        self._views: dict[str, np.ndarray] = {}
        buffer, start = _mapped(self.path)
        header = parse_object(buffer[8:start], f"{self.path}: its header", CheckpointError)
        self.metadata = self._metadata(header.pop("__metadata__", {}))
        spans = {name: self._span(name, entry) for name, entry in header.items()}
        end = 0
        for name, (begin, following) in sorted(spans.items(), key=lambda item: item[1]):
            if begin != end:
                raise self._error(name, f"begins at byte {begin} of the data, expected {end}: the arrays must lie side by side")
            end = following
            self._views[name] = self._view(name, header[name], buffer, start)
        if start + end != len(buffer):
            raise CheckpointError(f"{self.path}: holds {len(buffer) - start} bytes of data, its header tells of {end}")

    def __getitem__(self, name: str) -> np.ndarray:
        view = self._views[name]
        return (view.astype(np.uint32) << 16).view(np.float32) if self.codes[name] == "BF16" else view

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array without touching its data."""
        return self._views[name].shape

    def _error(self, name: str, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {name!r:.80} {problem}")

    def _metadata(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise self._error("__metadata__", "must map strings to strings")
        return value

    def _span(self, name: str, entry: Any) -> tuple[int, int]:
        """The checked offsets of an array, after its dtype and shape."""
        if not isinstance(entry, dict) or not entry.keys() >= {"dtype", "shape", "data_offsets"}:
            raise self._error(name, "must have dtype, shape and data_offsets")
        if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
            raise self._error(name, f"has dtype {entry['dtype']!r:.40}, known are {', '.join(DTYPES)}")
        for key, most in (("shape", 32), ("data_offsets", 2)):
            numbers = entry[key]
            if not isinstance(numbers, list) or len(numbers) > most or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
                raise self._error(name, f"has {key} {numbers!r:.80}, expected at most {most} integers from 0")
        count = math.prod(entry["shape"]) * np.dtype(DTYPES[entry["dtype"]]).itemsize
        if len(entry["data_offsets"]) != 2 or entry["data_offsets"][1] - entry["data_offsets"][0] != count:
            offsets = f"data_offsets {entry['data_offsets']}"
            raise self._error(name, f"has {offsets}, but {entry['dtype']} of shape {entry['shape']!r:.80} takes {count} bytes")
        begin, end = entry["data_offsets"]
        return begin, end

    def _view(self, name: str, entry: dict[str, Any], buffer: mmap.mmap | bytes, start: int) -> np.ndarray:
        begin, end = entry["data_offsets"]
        if start + end > len(buffer):
            raise self._error(name, f"ends at byte {start + end}, but the file has {len(buffer)}: it is truncated")
        self.codes[name] = entry["dtype"]
        try:
            return np.ndarray(entry["shape"], DTYPES[entry["dtype"]], buffer, start + begin)
        except (ValueError, OverflowError):  # an empty array whose other axes are absurd
            raise self._error(name, f"has shape {entry['shape']!r:.80}, too large for an array") from None


def _mapped(path: Path) -> tuple[mmap.mmap | bytes, int]:
    """Return the file as memory, and where its data begins."""
    if path.suffix in PICKLES:
        raise CheckpointError(pickle_refusal(path))
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except (OSError, ValueError) as error:  # a ValueError where the name itself cannot be
        raise CheckpointError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if size < 8:
        raise CheckpointError(f"{path}: has {size} bytes, too few for a safetensors file")
    (length,) = struct.unpack("<Q", buffer[:8])
    if length > MAX_HEADER or 8 + length > len(buffer):
        limit = min(MAX_HEADER, len(buffer) - 8)
        raise CheckpointError(f"{path}: claims a header of {length} bytes, at most {limit} are possible: not safetensors, or truncated")
    return buffer, 8 + length


def pickle_refusal(path: Path) -> str:
    """Why a pickled checkpoint is not read, and what to do."""
    return (
        f"{path} is a pickle, which can run any code when it is read; convert it where transformers is installed: "
        f"AutoModel.from_pretrained(DIR).save_pretrained(NEW_DIR) writes safetensors (with the class that fits, as GPT2LMHeadModel)"
    )


def write_safetensors(path: Path | str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays of any strides and byte order; the file is replaced only by a complete one.

    Parameters
    ----------
    path : path of the file
    tensors : mapping of str to ndarray
        float16 to float64, integers, bool, complex64.
    metadata : mapping of str to str, optional

    Raises
    ------
    CheckpointError
        If the format has no such dtype (the message names the array).
    RunDirectoryError
        If the file cannot be written; an old one stays.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))  # wide first: every array is aligned
    for name in names:
        code = CODES.get(tensors[name].dtype.newbyteorder("<"))
        if code is None or name == "__metadata__":
            raise CheckpointError(f"{path}: {name!r} of dtype {tensors[name].dtype} cannot be written as safetensors")
        header[name] = {"dtype": code, "shape": list(tensors[name].shape), "data_offsets": [end, end + tensors[name].nbytes]}
        end += tensors[name].nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)

    def pieces() -> Iterator[Any]:
        yield struct.pack("<Q", len(text)) + text
        for name in names:
            array = tensors[name]
            yield np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)

    write_atomically(Path(path), pieces())
