"""Files of arrays that somebody else wrote: bombs, pickles, paths, headers that lie. Each is an error, and takes no memory."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from minillm.archive import read_arrays
from minillm.checkpoint import DAMAGE
from minillm.errors import CheckpointError

NAMES = ("a", "b", "text")


def part(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(text, data=b"", version=1):
    body = text.encode().ljust(118) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(body))
    return b"\x93NUMPY" + bytes([version, 0]) + size + body + data


def archive(parts, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as whole:
        for name, data in parts:
            whole.writestr(name, data)
    return file.getvalue()


def refuse(data, message=""):
    """Read, which must fail, with no more memory than a few times the file (and what zipfile itself takes)."""
    tracemalloc.start()
    try:
        with pytest.raises(DAMAGE) as caught:
            read_arrays(io.BytesIO(data), NAMES)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(data) + 300_000
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.float32([1, 2]), np.array(7), np.array("text"), np.zeros((0, 3)), 1j * np.ones(2)]
)
def test_what_numpy_saves_is_read(array):
    file = io.BytesIO()
    np.savez(file, a=array, b=array)
    found = read_arrays(file, NAMES)
    assert list(found) == ["a", "b"]
    for got in found.values():
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert (got == array).all()
        assert got.flags.writeable


def test_another_byte_order_is_turned():
    found = read_arrays(io.BytesIO(archive([("a.npy", part(np.array([1.5, 2], ">f4")))])), NAMES)["a"]
    assert (found.dtype, found.tolist()) == (np.dtype(np.float32), [1.5, 2])


def test_a_zip_bomb_is_not_unpacked():
    data = archive([("a.npy", part(np.zeros(5_000_000)))], zipfile.ZIP_DEFLATED)
    assert len(data) < 50_000
    refuse(data, "'a.npy' is compressed")


def test_a_part_that_says_to_be_longer_than_the_file_is_refused():
    data = bytearray(archive([("a.npy", part(np.zeros(10)))]))
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", 1 << 31, 1 << 31)  # the two sizes in the central directory
    refuse(bytes(data), "its parts are longer than the file")


def test_parts_that_lie_over_each_other_are_refused():
    big = part(np.zeros(20_000))
    data = archive([("a.npy", big), ("b.npy", part(np.zeros(1)))])
    at = data.rindex(b"PK\x01\x02")  # let b be the same bytes as a
    first = data.index(b"PK\x01\x02")
    changed = bytearray(data)
    changed[at + 16 : at + 28], changed[at + 42 : at + 46] = data[first + 16 : first + 28], data[first + 42 : first + 46]
    refuse(bytes(changed))


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(100000, 100000, 100000)", "(-1,)", "(-5, -2)", "(2.5,)", "3", "(9,)", "(11,)"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_header_that_promises_another_size_is_refused(shape, version):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"
    refuse(archive([("a.npy", header(text, bytes(80), version))]))


@pytest.mark.parametrize("dtype", ["'|O'", "'|V8'", "'<M8[s]'", "[('x', '<f8')]", "'|S8'", "'<U0'", "'<f3'", "1 + 1", "__import__('os')"])
def test_other_kinds_than_numbers_and_text_are_refused(dtype):
    refuse(archive([("a.npy", header(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': (1,)}}", bytes(8)))]))


def test_a_pickle_is_refused():
    file = io.BytesIO()
    np.savez(file, allow_pickle=True, a=np.array([{"a": 1}], dtype=object))
    refuse(file.getvalue(), "'a.npy' is not the object array")


@pytest.mark.parametrize("name", ["../a.npy", "/etc/passwd", "a/../../b.npy", "c.npy", "a.npy.npy"])
def test_other_names_are_refused_and_nothing_is_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse(archive([(name, part(np.zeros(3)))]), "having a part")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_part_that_is_there_twice_is_refused():
    refuse(archive([("a.npy", part(np.zeros(3))), ("a.npy", part(np.ones(3)))]), "it has a part twice")
    refuse(archive([("a.npy", part(np.zeros(3))), ("a", part(np.ones(3)))]), "it has a part twice")


def test_a_changed_byte_is_found():
    data = bytearray(archive([("a.npy", part(np.zeros(30)))]))
    data[200] ^= 1
    with pytest.raises(CheckpointError, match=r"its part 'a\.npy' is damaged"):
        read_arrays(io.BytesIO(data), NAMES)


def test_another_version_of_the_format_is_said():
    refuse(archive([("a.npy", b"\x93NUMPY\x03\x00" + bytes(80))]), "of version (3, 0) of the format")
    refuse(archive([("a.npy", b"nothing")]))
