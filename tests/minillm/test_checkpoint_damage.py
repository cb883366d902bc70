"""Checkpoints that are truncated, foreign, changed or contradict themselves: one line each, and no pickle is run."""

import io
import json
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.checkpoint import load, save
from minillm.errors import CheckpointError
from minillm.optimizers import AdamW
from minillm.tokenizer import CharTokenizer

TOKENIZER = CharTokenizer("ab\n\t é👩\"\\\0")


def small_model(random_model, dtype=np.float32, **options):
    return random_model(vocab_size=TOKENIZER.vocab_size, n_embd=4, n_inner=3, n_layer=1, dtype=dtype, **options)


@pytest.fixture
def saved(random_model, tmp_path):
    path = tmp_path / "checkpoint.npz"
    model = small_model(random_model)
    save(path, model, TOKENIZER, AdamW(model.parameters), step=3)
    return path


def assert_one_line(path, *parts):
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.count(str(path)) == 1
    for part in parts:
        assert part in message


def test_a_file_that_is_not_there(tmp_path):
    assert_one_line(tmp_path / "none.npz", "there is no checkpoint")


def test_a_directory(tmp_path):
    assert_one_line(tmp_path)


@settings(max_examples=100)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file(tmp_path_factory, random_model, share):
    directory = tmp_path_factory.mktemp("truncated")
    path = directory / "checkpoint.npz"
    save(path, small_model(random_model), TOKENIZER)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert_one_line(path, "is not a checkpoint of minillm, or is damaged")


@pytest.mark.parametrize("data", [b"", b"PK", b"\x93NUMPY", b"\0" * 100, b"text\n" * 50, pickle.dumps({"a": 1})])
def test_a_foreign_file(tmp_path, data):
    path = tmp_path / "foreign.npz"
    path.write_bytes(data)
    assert_one_line(path, "is not a checkpoint of minillm, or is damaged")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("how", ["pickle", "npz", "npy"])
def test_a_pickle_is_never_run(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bomb.npz"
    array = np.array([Bomb()], dtype=object)
    with path.open("wb") as file:
        if how == "pickle":
            pickle.dump(Bomb(), file)
        elif how == "npz":
            np.savez(file, meta=array, parameters=array, allow_pickle=True)
        else:
            np.save(file, array, allow_pickle=True)
    assert_one_line(path)
    assert not (tmp_path / "exploded").exists()


def test_foreign_arrays(tmp_path):
    path = tmp_path / "foreign.npz"
    np.savez(path, weights=np.zeros(3))
    assert_one_line(path, "is not a checkpoint of minillm")
    np.save(path.with_suffix(".npy"), np.zeros(3))
    assert_one_line(path.with_suffix(".npy"), "is not a checkpoint of minillm")


def rewrite(path, meta=None, **arrays):
    """Save the checkpoint again with some arrays, or some of the facts about it, replaced."""
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    facts = json.loads(str(held["meta"]))
    for keys, value in (meta or {}).items():
        place = facts
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
    held["meta"] = np.array(json.dumps(facts))
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in (held | arrays).items() if array is not None})
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({("format",): "other-2"}, "has the format 'other-2', expected 'minillm-checkpoint-1'"),
        ({("config", "n_embd"): 8}, "parameters of shape"),
        ({("config", "n_layer"): 2}, "the names of its parameters are not those of its config"),
        ({("config", "n_head"): 3}, "n_embd must be a multiple of n_head"),
        ({("config", "n_head"): "2"}, "n_head must be an integer"),
        ({("config", "n_layer"): 0}, "n_layer must be at least 1, got 0"),
        ({("config", "n_embed"): 4}, "n_embed"),
        ({("config", "activation_function"): "swish"}, "activation_function must be one of"),
        ({("config",): None}, "is not a checkpoint of minillm, or is damaged"),
        ({("config",): [1]}, "is not a checkpoint of minillm, or is damaged"),
        ({("characters",): ["a", "a"]}, "character 'a' stands twice"),
        ({("characters",): 5}, "is not a checkpoint of minillm, or is damaged"),
        ({("characters",): [1, 2]}, "is not a checkpoint of minillm, or is damaged"),
        ({("characters",): "abcdefghijklmnop"}, "17 ids do not fit"),
        ({("facts",): 3}, "is not a checkpoint of minillm, or is damaged"),
        ({("names",): ["wte.weight"]}, "names"),
    ],
)
def test_a_checkpoint_that_contradicts_itself(saved, meta, message):
    rewrite(saved, meta)
    assert_one_line(saved, message)


def test_arrays_that_do_not_fit(saved):
    with np.load(saved) as file:
        vector = file["parameters"]
    for wrong in (vector[:-1], vector[:, None], vector.astype(int), np.zeros(0)):
        rewrite(saved, parameters=wrong)
        assert_one_line(saved, f"parameters of shape {wrong.shape}, expected ({vector.size},)")
    rewrite(saved, parameters=vector)
    for name in ("adam_m", "adam_v"):
        for wrong in (vector[:-1], vector.astype(np.float64), None, np.full_like(vector, np.nan)):
            rewrite(saved, **{"adam_m": vector, "adam_v": abs(vector)} | {name: wrong})
            assert_one_line(saved)
    rewrite(saved, adam_m=vector, adam_v=abs(vector), adam_t=np.array(-1))
    assert_one_line(saved)
    rewrite(saved, adam_t=np.array(0))
    assert load(saved).optimizer.t == 0


def test_a_parameter_that_is_not_finite_is_named(saved, random_model):
    vector = small_model(random_model).parameters.vector.copy()
    layout = small_model(random_model).parameters.like(vector)
    layout["h.0.mlp.c_fc.weight"][2, 1] = np.nan
    rewrite(saved, parameters=vector)
    assert_one_line(saved, "nan in h.0.mlp.c_fc.weight at index (2, 1)")


def test_one_byte_in_the_header_of_an_array_is_found(random_model, tmp_path):
    """'<f4' → '<f2' would load as half of the bytes, read as other numbers, and NumPy would not notice."""
    path = tmp_path / "checkpoint.npz"
    save(path, small_model(random_model), TOKENIZER)
    whole = path.read_bytes()
    assert whole.count(b"'<f4'") == 1
    path.write_bytes(whole.replace(b"'<f4'", b"'<f2'"))
    assert_one_line(path, "its part 'parameters.npy' is damaged")


@pytest.fixture(scope="module")
def whole_file(random_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "whole.npz"
    model = small_model(random_model)
    save(path, model, TOKENIZER, AdamW(model.parameters), step=3)
    return path


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_bytes_are_an_error_in_one_line_or_the_same_checkpoint(whole_file, data):
    path, whole, good = whole_file.with_name("changed.npz"), whole_file.read_bytes(), load(whole_file)
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        last = len(whole) - 1
        headers = st.integers(0, 400) | st.integers(last - 400, last)  # there is the structure
        where = data.draw(st.integers(0, last) | headers)
        changed[where] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    found, message = None, ""
    try:
        found = load(path)
    except CheckpointError as error:
        message = str(error)
    if found is None:
        assert "\n" not in message
        return
    assert found.model.parameters.vector.tobytes() == good.model.parameters.vector.tobytes()
    assert found.model.parameters.vector.dtype == good.model.parameters.vector.dtype
    assert found.model.config == good.model.config
    assert found.tokenizer.characters == good.tokenizer.characters
    assert found.facts == good.facts
