"""Small checkpoints with what PyTorch computed from them; see tests/make_pretrained_data.py."""

import json
import runpy
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minillm.pretrained.safetensors import SafeTensors, write_safetensors

TESTS = Path(__file__).parents[2]
DATA = TESTS / "data" / "pretrained"
VARIANTS = sorted(path.name for path in DATA.iterdir())


def _assert_close(found: np.ndarray, stored: np.ndarray, bound: float) -> None:
    assert found.shape == stored.shape
    assert np.abs(found - stored).max() <= bound * np.abs(stored).max()


def _assert_gradients_close(found: Mapping, stored: Mapping) -> None:
    names = [name for name in stored if name.startswith("gradient.")]
    top = max(np.abs(stored[name]).max() for name in names)
    assert len(names) == len(found)
    for name in names:  # a key bias has the gradient zero, so there is a floor
        error = np.abs(found[name.removeprefix("gradient.")] - stored[name]).max()
        assert error <= 1e-11 * max(np.abs(stored[name]).max(), 1e-3 * top), name


def _write_gguf(path: Path, metadata: Mapping, tensors: Mapping[str, np.ndarray], kinds: Mapping[str, int] | None = None) -> None:
    """A GGUF file; ``kinds`` says of which type a tensor's bytes are, where it is not that of the array."""

    def text(string: str) -> bytes:
        return struct.pack("<Q", len(string.encode())) + string.encode()

    def value(x: object) -> bytes:
        for kind, (cls, form) in {7: (bool, "<?"), 4: (int, "<I"), 6: (float, "<f")}.items():
            if isinstance(x, cls):
                return struct.pack("<I", kind) + struct.pack(form, x)
        if isinstance(x, str):
            return struct.pack("<I", 8) + text(x)
        if x and isinstance(x[0], int):
            return struct.pack("<IIQ", 9, 5, len(x)) + struct.pack(f"<{len(x)}i", *x)
        return struct.pack("<IIQ", 9, 8, len(x)) + b"".join(map(text, x))

    types = {np.float32: 0, np.float16: 1, np.float64: 28, np.uint16: 30}
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    out += b"".join(text(key) + value(x) for key, x in metadata.items())
    data = b""
    for name, array in tensors.items():
        kind = (kinds or {}).get(name, types.get(array.dtype.type))
        out += text(name) + struct.pack(f"<I{array.ndim}QIQ", array.ndim, *array.shape[::-1], kind, len(data))
        data += array.tobytes() + b"\0" * (-array.nbytes % 32)
    path.write_bytes(out + b"\0" * (-len(out) % 32) + data)


@pytest.fixture(scope="session")
def write_gguf() -> Callable:
    """``write_gguf(path, metadata, tensors)``: a GGUF file."""
    return _write_gguf


@pytest.fixture(scope="session")
def data() -> Path:
    """The directory of the variants."""
    return DATA


@pytest.fixture(scope="session")
def oracle() -> Callable:
    """``oracle(variant)``: the stored arrays, gradients by name under ``gradient.``."""
    return lambda variant: SafeTensors(DATA / variant / "oracle.safetensors")


@pytest.fixture(scope="session")
def assert_close() -> Callable:
    """``assert_close(found, stored, bound)``: equal shapes, largest error at most ``bound`` × largest stored value."""
    return _assert_close


@pytest.fixture(scope="session")
def assert_gradients_close() -> Callable:
    """``assert_gradients_close(found, stored)``: each array of ``found`` and the stored ``gradient.`` + its name, to 1e-11 relative."""
    return _assert_gradients_close


@pytest.fixture(scope="session")
def framework() -> SimpleNamespace:
    """The functions of tests/make_pretrained_data.py; the test is skipped without torch and transformers."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    return SimpleNamespace(**runpy.run_path(str(TESTS / "make_pretrained_data.py")))


@pytest.fixture
def copy(tmp_path: Path) -> Callable:
    """``copy(variant, config={…}, tensors={…})``: a copy with keys of config.json and tensors replaced (None: left out)."""

    def make(variant: str, config: dict | None = None, tensors: dict | None = None) -> Path:
        place = tmp_path / variant
        shutil.copytree(DATA / variant, place)
        options = json.loads((place / "config.json").read_text(encoding="utf-8")) | (config or {})
        (place / "config.json").write_text(json.dumps({k: v for k, v in options.items() if v != "left out"}), encoding="utf-8")
        if tensors is not None:
            file = SafeTensors(place / "model.safetensors")
            arrays = {**file} | tensors
            write_safetensors(place / "model.safetensors", {k: a for k, a in arrays.items() if a is not None}, {"format": "pt"})
        return place

    return make
