import json
import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.errors import CheckpointError, RunDirectoryError
from minillm.pretrained.safetensors import DTYPES, SafeTensors, write_safetensors

KINDS = [kind for code, kind in DTYPES.items() if code != "BF16"]


def file_of(directory, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = directory / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("kind", KINDS)
def test_an_array_comes_back_in_its_dtype(tmp_path, kind):
    array = np.random.default_rng(0).integers(0, 2, (3, 4)).astype(kind)
    write_safetensors(tmp_path / "x.safetensors", {"a": array, "empty": array[:0], "scalar": array[0, 0].reshape(())})
    read = SafeTensors(tmp_path / "x.safetensors")
    assert list(read) == ["a", "empty", "scalar"]
    assert read["a"].dtype == array.dtype
    assert (read["a"] == array).all()
    assert read["empty"].shape == (0, 4)
    assert read["scalar"].shape == ()


def test_any_strides_and_byte_order_are_written_right(tmp_path):
    whole = np.arange(60.0).reshape(3, 4, 5)
    arrays = {"transposed": whole.T, "reversed": whole[::-1, :, ::-2], "repeated": np.broadcast_to(whole[0, 0], (2, 5)),
              "big-endian": whole.astype(">f8"), "fortran": np.asfortranarray(whole), "unaligned": np.ones(3, np.int8)}  # fmt: skip
    write_safetensors(tmp_path / "x.safetensors", arrays, {"format": "pt"})
    read = SafeTensors(tmp_path / "x.safetensors")
    assert read.metadata == {"format": "pt"}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (read[name] == array).all()
        assert read[name].shape == array.shape


def test_bfloat16_is_widened_exactly(tmp_path):
    values = np.array([1.0, -2.5, 3.140625, np.inf, 2.0**-130, 0.0], np.float32)
    data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    read = SafeTensors(file_of(tmp_path, {"w": entry(0, 12, [2, 3], "BF16")}, data))
    assert read["w"].dtype == np.float32
    assert (read["w"] == values.reshape(2, 3)).all()


def test_a_view_is_read_only_and_takes_no_memory(tmp_path):
    write_safetensors(tmp_path / "x.safetensors", {"w": np.zeros(1 << 20)})
    tracemalloc.start()
    view = SafeTensors(tmp_path / "x.safetensors")["w"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 17
    assert not view.flags.writeable


some_arrays = hnp.arrays(st.sampled_from(["f4", "i8", "f2", "?"]), hnp.array_shapes(min_dims=0, min_side=0))


@given(st.dictionaries(st.text(max_size=8), some_arrays, max_size=4))
def test_what_is_written_is_read(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("written") / "x.safetensors"
    tensors.pop("__metadata__", None)
    write_safetensors(path, tensors)
    read = SafeTensors(path)
    assert read.keys() == tensors.keys()
    assert all(read[name].tobytes() == array.tobytes() for name, array in tensors.items())


BAD = {
    "nothing": (b"", "has 0 bytes, too few"),
    "a huge header": (struct.pack("<Q", 2**63) + b"{}", "claims a header of 9223372036854775808 bytes, at most 2 are possible"),
    "a header past the end": (struct.pack("<Q", 3) + b"{}", "claims a header of 3 bytes, at most 2 are possible"),
    "not JSON": (struct.pack("<Q", 2) + b"{]", "its header is not JSON in UTF-8"),
    "not UTF-8": (struct.pack("<Q", 3) + b"{\xff}", "its header is not JSON in UTF-8"),
    "deep": (struct.pack("<Q", 200_000) + b"[" * 200_000, "its header is not JSON in UTF-8"),
    "a list": (struct.pack("<Q", 2) + b"[]", r"its header must hold a JSON object, got \[\]"),
    "twice": (struct.pack("<Q", 13) + b'{"a":1,"a":2}', "its header gives 'a' twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_not_safetensors_is_named(tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^{path}: .*{message}"):
        SafeTensors(path)


BAD_ENTRIES = {
    "overlap": ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, "'b' begins at byte 4 of the data, expected 8"),
    "gap": ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, "'b' begins at byte 8 of the data, expected 4"),
    "trailing": ({"a": entry(0, 8, [2])}, "holds 12 bytes of data, its header tells of 8"),
    "truncated": ({"a": entry(0, 16, [4])}, r"'a' ends at byte \d+, but the file has \d+: it is truncated"),
    "shape": ({"a": entry(0, 12, [2])}, r"'a' has data_offsets \[0, 12\], but F32 of shape \[2\] takes 8 bytes"),
    "backwards": ({"a": entry(12, 0, [3])}, "'a' has data_offsets"),
    "negative": ({"a": entry(0, 12, [-3])}, r"'a' has shape \[-3\], expected"),
    "float": ({"a": entry(0, 12.0, [3])}, r"'a' has data_offsets \[0, 12.0\], expected"),
    "bool": ({"a": entry(0, 12, [True, 3])}, r"'a' has shape \[True, 3\], expected"),
    "one offset": ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [12]}}, "'a' has data_offsets"),
    "dtype": ({"a": entry(0, 12, [3], "F8_E4M3")}, "'a' has dtype 'F8_E4M3', known are F64, F32"),
    "dtype list": ({"a": entry(0, 12, [3], ["F32"])}, r"'a' has dtype \['F32'\], known are"),
    "no dtype": ({"a": {"shape": [3], "data_offsets": [0, 12]}}, "'a' must have dtype, shape and data_offsets"),
    "not an object": ({"a": 3}, "'a' must have dtype, shape and data_offsets"),
    "metadata": ({"__metadata__": {"a": 1}}, "'__metadata__' must map strings to strings"),
    "empty but huge": ({"a": entry(0, 0, [0, 2**61, 2**61])}, "'a' has shape .*, too large for an array"),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_an_entry_that_contradicts_the_file_is_named(tmp_path, name):
    header, message = BAD_ENTRIES[name]
    with pytest.raises(CheckpointError, match=f"{message}"):
        SafeTensors(file_of(tmp_path, header, bytes(12)))


def test_a_missing_file_and_a_pickle_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"^cannot read .*none.safetensors: No such file or directory$"):
        SafeTensors(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is a pickle, .*save_pretrained"):
        SafeTensors(tmp_path / "pytorch_model.bin")


def test_a_dtype_without_a_code_is_named_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": np.ones(2)})
    old = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"'b' of dtype (longdouble|float128) cannot be written"):
        write_safetensors(path, {"a": np.zeros(2), "b": np.zeros(2, np.longdouble)})
    assert path.read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(RunDirectoryError, match="cannot write"):
        write_safetensors(tmp_path / "none" / "x.safetensors", {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
small = st.integers(-1, 40) | st.sampled_from([2**31, 2**62, 2**63, 2**64, 10**30])
entries = st.fixed_dictionaries(
    {"dtype": st.sampled_from([*DTYPES, "F8_E5M2", "", 3]), "shape": st.lists(small, max_size=4), "data_offsets": st.lists(small, max_size=3)}
)
headers = st.dictionaries(st.text(max_size=3) | st.just("__metadata__"), entries | json_values, max_size=4).map(
    lambda value: json.dumps(value).encode()
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "x.safetensors"
    write_safetensors(path, {"a": np.ones((2, 3), np.float32), "b": np.arange(4), "c": np.ones((), np.float16)}, {"format": "pt"})
    return path.read_bytes()


def survives(path, content):
    """Reading gives arrays or a CheckpointError of one line, in little time and memory."""
    path.write_bytes(content)
    tracemalloc.start()
    began = time.perf_counter()
    complaint = str(path)
    try:
        read = SafeTensors(path)
        assert sum(array.nbytes for array in read.values()) <= 2 * len(content)  # BF16 doubles
    except CheckpointError as error:
        complaint = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in complaint
    assert "\n" not in complaint
    assert peak < 100_000 + 20 * len(content)
    assert time.perf_counter() - began < 10


@given(data=st.data())
def test_no_file_whatever_crashes_the_reader(tmp_path_factory, good, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    survives(path, data.draw(st.binary(max_size=200)))
    header, rest = data.draw(headers), data.draw(st.binary(max_size=40))
    length = data.draw(st.just(len(header)) | st.integers(0, 2**64 - 1))
    survives(path, struct.pack("<Q", length) + header + rest)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, len(good)), st.integers(0, len(good)))))
    survives(path, good[:start] + data.draw(st.binary(max_size=8)) + good[stop:])
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    survives(path, good[:at] + bytes([good[at] ^ (1 << bit)]) + good[at + 1 :])


def test_a_header_of_many_names_given_twice_is_no_hang(tmp_path):
    text = b"{" + b",".join(b'"%d":1' % (i % 100_000) for i in range(200_000)) + b"}"
    survives(tmp_path / "x.safetensors", struct.pack("<Q", len(text)) + text)


def test_the_reference_reads_what_we_write_and_we_what_it_writes(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.ones(3, np.int8), "c": np.ones((2, 0), bool), "d": np.ones((), np.float16)}
    write_safetensors(tmp_path / "ours.safetensors", arrays, {"format": "pt"})
    theirs = numpy.load_file(tmp_path / "ours.safetensors")
    numpy.save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, tmp_path / "theirs.safetensors")
    ours = SafeTensors(tmp_path / "theirs.safetensors")
    for read in (theirs, ours):
        assert read.keys() == arrays.keys()
        assert all((read[name] == array).all() and read[name].dtype == array.dtype for name, array in arrays.items())
