import contextlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.errors import CheckpointError, MissingExtra
from minillm.pretrained.gguf_file import GGUF

METADATA = {"general.architecture": "llama", "a.count": 7, "a.rate": 0.5, "a.flag": True, "a.words": ["x", "é", ""], "a.kinds": [1, -3]}
TENSORS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "h": np.array([0.5, -2], np.float16), "d": np.array([[1e300]])}


@pytest.fixture
def path(tmp_path, write_gguf):
    write_gguf(tmp_path / "x.gguf", METADATA, TENSORS)
    return tmp_path / "x.gguf"


def test_metadata_and_tensors_come_back(path):
    file = GGUF(path)
    assert file.metadata == METADATA
    assert list(file) == list(TENSORS)
    assert file.codes == {"w": "F32", "h": "F16", "d": "F64"}
    for name, array in TENSORS.items():
        assert file.shape(name) == array.shape
        assert file[name].dtype == array.dtype
        assert (file[name] == array).all()


def test_bfloat16_is_widened(tmp_path, write_gguf):
    write_gguf(tmp_path / "x.gguf", {}, {"b": np.array([0x3FC0, 0xC000], np.uint16)})
    assert GGUF(tmp_path / "x.gguf")["b"].tolist() == [1.5, -2.0]


def test_every_truncation_is_told(path, tmp_path):
    whole = path.read_bytes()
    for length in range(len(whole) - 24):  # the last 24 bytes only fill up
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.gguf") as caught:
            GGUF(tmp_path / "cut.gguf")
        assert "\n" not in str(caught.value)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path_factory, write_gguf, data):
    path = tmp_path_factory.mktemp("damaged") / "x.gguf"
    write_gguf(path, METADATA, TENSORS)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    with contextlib.suppress(CheckpointError, MissingExtra):
        file = GGUF(path)
        for name in file:
            assert file[name].shape == file.shape(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin with 'GGUF'"),
        (b"PK\3\4", "does not begin with 'GGUF'"),
        (b"GGUF" + bytes([0, 0, 0, 3]), "is GGUF of version 50331648, expected 2 or 3"),
        (b"GGUF\3\0\0\0", "is truncated, or no GGUF: 16 bytes wanted at 8, it has 8"),
    ],
)
def test_what_is_no_gguf(tmp_path, content, message):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        GGUF(tmp_path / "x.gguf")
    with pytest.raises(CheckpointError, match=r"cannot read .*none: No such file"):
        GGUF(tmp_path / "none")


def test_quantised_arrays_are_the_packages(tmp_path):
    gguf = pytest.importorskip("gguf")
    array = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1):
        path = tmp_path / f"{kind.name}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        packed = gguf.quants.quantize(array, kind)
        writer.add_tensor("w", packed, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        file = GGUF(path)
        assert file.shape("w") == (4, 64)
        assert file.codes == {"w": "F32"}
        assert (file["w"] == gguf.quants.dequantize(packed, kind)).all()
        assert np.abs(file["w"] - array).max() < 0.2
        whole = path.read_bytes()
        path.write_bytes(whole[:-64])
        with pytest.raises(CheckpointError, match=r"'w' of type .* does not fit into .*: truncated"):
            GGUF(path)


def test_an_empty_tensor_is_refused(tmp_path, write_gguf):
    write_gguf(tmp_path / "x.gguf", {}, {"w": np.zeros((0, 4), np.float32)})
    with pytest.raises(CheckpointError, match=r"x\.gguf: 'w' of type 0 and shape \[0, 4\] from byte \d+ does not fit"):
        GGUF(tmp_path / "x.gguf")


def test_without_the_package_a_quantised_file_names_the_extra(tmp_path, write_gguf, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    write_gguf(tmp_path / "x.gguf", {}, {"w": np.zeros(36, np.uint8)}, {"w": 8})
    with pytest.raises(MissingExtra, match=r"a quantised GGUF file needs gguf: pip install 'minillm-numpy\[gguf\]'"):
        GGUF(tmp_path / "x.gguf")
