"""Tensors into a vector: each fault is one line with file and tensor, found before the vector is made."""

import tracemalloc

import numpy as np
import pytest

from minillm.errors import CheckpointError, UserError
from minillm.pretrained.safetensors import SafeTensors, write_safetensors
from minillm.pretrained.weights import load_vector, require_tied

SHAPES = {"a": (2, 3), "b": (3,)}


@pytest.fixture
def opened(tmp_path):
    """``opened(one={…}, two={…})``: tensors by name, each with the file that holds it."""

    def write(**files):
        found = {}
        for name, tensors in files.items():
            write_safetensors(tmp_path / f"{name}.safetensors", tensors)
            file = SafeTensors(tmp_path / f"{name}.safetensors")
            found |= dict.fromkeys(file, file)
        return found

    return write


A, B = np.arange(6.0).reshape(2, 3), np.array([7.0, 8.0, 9.0])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_tensors_of_several_files_lie_in_the_order_of_the_parameters(opened, dtype):
    tensors = opened(one={"x.b": B.astype(dtype)}, two={"x.a": A.astype(dtype)})
    vector = load_vector(SHAPES, tensors, lambda name: name[2:])
    assert vector.dtype == (np.float64 if dtype == "f8" else np.float32)
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert vector.flags.writeable


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex128])
def test_a_dtype_that_is_asked_for_is_what_comes(opened, dtype):
    assert load_vector(SHAPES, opened(one={"a": A, "b": B}), str, dtype).dtype == dtype
    with pytest.raises(UserError, match="dtype must be a floating or complex one, got int32"):
        load_vector(SHAPES, opened(one={"a": A, "b": B}), str, np.int32)


def test_what_is_renamed_to_none_is_not_looked_at(opened):
    tensors = opened(one={"a": A, "b": B, "junk": np.full(9, np.nan), "more": np.ones(2, bool)})
    assert len(load_vector(SHAPES, tensors, lambda name: name if name in SHAPES else None)) == 9


FAULTS = {
    "missing": ({"a": A}, ": the tensor 'b' is missing"),
    "unknown": ({"a": A, "b": B, "c": B}, "one.safetensors: 'c' has no place in the model that config.json describes"),
    "shape": ({"a": A.T, "b": B}, r"one.safetensors: 'a' has shape \[3, 2\], config.json makes it \[2, 3\]"),
    "flat": ({"a": A.reshape(-1), "b": B}, r"one.safetensors: 'a' has shape \[6\], config.json makes it \[2, 3\]"),
    "integers": ({"a": A, "b": B.astype(np.int64)}, "one.safetensors: 'b' has dtype I64, expected one of F64, F32, F16, BF16"),
    "complex": ({"a": A, "b": B.astype(np.complex64)}, "one.safetensors: 'b' has dtype C64, expected one of"),
    "NaN": ({"a": A, "b": np.array([1, np.nan, 1])}, r"one.safetensors: 'b' is nan at index \(1,\), not a finite float64"),
    "infinite": ({"a": np.full((2, 3), -np.inf), "b": B}, r"one.safetensors: 'a' is -inf at index \(0, 0\), not a finite float64"),
    "twice": ({"a": A, "b": B, "x.b": B}, "one.safetensors: '(x.)?b' and '(x.)?b' are the same parameter"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_file_and_tensor(opened, name):
    tensors, message = FAULTS[name]
    with pytest.raises(CheckpointError, match=message) as caught:
        load_vector(SHAPES, opened(one=tensors), lambda name: name.removeprefix("x."))
    assert "\n" not in str(caught.value)


def test_what_is_too_large_for_the_dtype_that_is_asked_for_is_named(opened):
    with pytest.raises(CheckpointError, match=r"'a' is 1e\+300 at index \(0, 0\), not a finite float32"):
        load_vector(SHAPES, opened(one={"a": np.full((2, 3), 1e300), "b": B}), str, np.float32)


def test_no_tensors_at_all():
    with pytest.raises(CheckpointError, match="the checkpoint: the tensor 'a' is missing"):
        load_vector(SHAPES, {}, str)


def test_a_model_that_the_file_cannot_hold_takes_no_memory(opened):
    tensors = opened(one={"a": A, "b": B})
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"config.json makes it"):
        load_vector({"a": (2, 3), "b": (10**12,)}, tensors, str)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_tied_head_is_the_embedding_or_is_named(opened):
    require_tied(opened(one={"head": A}), "head", A)
    require_tied(opened(one={"head": A}), "other", A)
    require_tied(opened(one={"head": A.astype("f2")}), "head", A.astype(np.float32))
    for wrong in (A + 1, A.T, np.full((2, 3), np.nan)):
        with pytest.raises(CheckpointError, match=r"one.safetensors: 'head' is not the embedding, but config.json ties them"):
            require_tied(opened(one={"head": wrong}), "head", A)
