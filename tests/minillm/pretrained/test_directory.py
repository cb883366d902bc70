import json

import numpy as np
import pytest

from minillm.errors import CheckpointError, RunDirectoryError
from minillm.pretrained import directory
from minillm.pretrained.directory import INDEX, SINGLE, locate, open_tensors
from minillm.pretrained.safetensors import write_safetensors


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub"


def cache(hub, name, revision="abc123"):
    snapshot = hub / name / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (hub / name / "refs").mkdir()
    (hub / name / "refs" / "main").write_text(revision)
    return snapshot


def test_a_directory_comes_before_the_cache(hub, tmp_path, monkeypatch):
    snapshot = cache(hub, "models--gpt2")
    monkeypatch.chdir(tmp_path)
    assert locate("gpt2") == snapshot
    (tmp_path / "gpt2").mkdir()
    assert locate("gpt2").resolve() == tmp_path / "gpt2"


def test_the_cache_is_where_the_hub_keeps_it(hub, tmp_path, monkeypatch):
    snapshot = cache(hub, "models--openai-community--gpt2")
    assert locate("openai-community/gpt2") == snapshot
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    with pytest.raises(CheckpointError, match=f"local Hugging Face cache {tmp_path / 'elsewhere'}"):
        locate("openai-community/gpt2")
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = cache(tmp_path / "huggingface" / "hub", "models--a")
    assert locate("a") == other


@pytest.mark.parametrize("name", ["gpt2", "no/such/place", "../x", ""])
def test_a_name_that_is_nowhere_says_what_to_place_where(hub, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if not name:
        with pytest.raises(CheckpointError, match=r"holds neither model.safetensors nor model.safetensors.index.json"):
            open_tensors(locate(name))
        return
    with pytest.raises(CheckpointError, match=r"nothing is downloaded: place config.json and model.safetensors in a directory"):
        locate(name)


def test_a_file_in_place_of_a_directory(tmp_path):
    (tmp_path / SINGLE).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model.safetensors is a file, expected the directory that holds it and its config.json"):
        locate(tmp_path / SINGLE)
    with pytest.raises(CheckpointError, match=r"x.pt is a pickle, which can run any code .* save_pretrained|x.pt is a pickle"):
        locate(tmp_path / "x.pt")


def test_a_directory_of_pickles_says_how_to_convert(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is a pickle, which can run any code when it is read; convert it"):
        open_tensors(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, "weight_map must map names of tensors to files, got None"),
        ({"weight_map": []}, r"weight_map must map names of tensors to files, got \[\]"),
        ({"weight_map": {"a": "../one.safetensors"}}, "places 'a' in '../one.safetensors', expected a file of the same directory"),
        ({"weight_map": {"a": 3}}, "places 'a' in 3, expected a file of the same directory"),
        ({"weight_map": {"b": "one.safetensors"}}, "places 'b' in one.safetensors, which does not hold it"),
        ({"weight_map": {"a": "two.safetensors"}}, "cannot read .*two.safetensors: No such file"),
    ],
)
def test_an_index_that_contradicts_its_shards(tmp_path, index, message):
    write_safetensors(tmp_path / "one.safetensors", {"a": np.ones(2)})
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=message):
        open_tensors(tmp_path)


def test_shards_hold_at_most_their_size_and_a_larger_tensor_alone(tmp_path):
    tensors = {"a": np.ones(2), "b": np.ones(2), "c": np.ones(9), "d": np.ones(1)}
    directory.save(tmp_path, {"x": 1}, tensors, 32)
    places = json.loads((tmp_path / INDEX).read_bytes())["weight_map"]
    assert places == {name: f"model-0000{i}-of-00003.safetensors" for name, i in zip("abcd", (1, 1, 2, 3), strict=True)}
    assert {name: file[name].tolist() for name, file in open_tensors(tmp_path).items()} == {k: a.tolist() for k, a in tensors.items()}
    assert json.loads((tmp_path / "config.json").read_bytes()) == {"x": 1}


@pytest.mark.parametrize("old_limit", [None, 32])
@pytest.mark.parametrize("new_limit", [None, 32])
@pytest.mark.parametrize("what", ["write_safetensors", "write_json"])
@pytest.mark.parametrize("error", [RunDirectoryError("the disk is full"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch, old_limit, new_limit, what, error):
    tensors = {name: np.full(4, i) for i, name in enumerate("abc")}
    directory.save(tmp_path, {"x": 1}, tensors, old_limit)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real, calls = getattr(directory, what), []

    def failing(*arguments):
        calls.append(arguments)
        if what == "write_json" or len(calls) == 2 or new_limit is None:
            raise error
        real(*arguments)

    monkeypatch.setattr(directory, what, failing)
    with pytest.raises(type(error)):
        directory.save(tmp_path, {"x": 2}, {name: array + 1 for name, array in tensors.items()}, new_limit)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_name_that_no_file_can_have_is_one_line(tmp_path):
    for name in ("x" * 5000, "x\0", "\ud800"):
        with pytest.raises(CheckpointError, match=r"^(cannot read|.* is not a directory)") as caught:
            locate(name)
        assert "\n" not in str(caught.value)
    write_safetensors(tmp_path / "one.safetensors", {"a": np.ones(2)})
    for shard in ("x" * 5000, "x\0", "\ud800"):
        (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": shard}}))
        with pytest.raises(CheckpointError, match="cannot read"):
            open_tensors(tmp_path)
