import dataclasses
import errno
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import checkpoint
from minillm.bpe import BPETokenizer
from minillm.checkpoint import fresh_directory, load, prepare_directory, save, write_atomically, write_json
from minillm.errors import RunDirectoryError
from minillm.optimizers import AdamW
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT

TOKENIZER = CharTokenizer("ab\n\t é👩\"\\\0")


def small_model(random_model, dtype=np.float32, **options):
    return random_model(vocab_size=TOKENIZER.vocab_size, n_embd=4, n_inner=3, n_layer=1, dtype=dtype, **options)


@pytest.fixture
def saved(random_model, tmp_path):
    path = tmp_path / "checkpoint.npz"
    model = small_model(random_model)
    save(path, model, TOKENIZER, AdamW(model.parameters), step=3)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tied", [True, False])
def test_round_trip_to_the_bit(random_model, tmp_path, dtype, tied):
    path = tmp_path / "checkpoint.npz"
    model = small_model(random_model, dtype, tied=tied)
    save(path, model, TOKENIZER, step=7, env="grid/empty-5", note="é\n")
    found = load(path)
    assert found.model.parameters.vector.tobytes() == model.parameters.vector.tobytes()
    assert found.model.parameters.vector.dtype == dtype
    assert found.model.config == model.config
    assert found.tokenizer.characters == TOKENIZER.characters  # a newline and a zero among them
    assert found.facts == {"step": 7, "env": "grid/empty-5", "note": "é\n"}
    assert found.optimizer is None
    ids = np.array([[1, 2, 3]])
    assert (found.model.forward(ids)[0] == model.forward(ids)[0]).all()
    assert found.model.parameters.vector.flags.writeable


@given(st.lists(st.sampled_from([("a", "b"), ("é", "Ġ"), ('"', "\\")]), unique=True), st.booleans())
def test_a_tokenizer_of_pairs_is_saved_too(random_model, tmp_path_factory, merges, digits):
    characters = sorted({c for pair in merges for c in pair} | {"a", "0"})
    tokens = [*characters, *map("".join, merges)]
    tokenizer = BPETokenizer({t: i for i, t in enumerate(tokens)}, merges, {"<end>": len(tokens)}, "<end>", digits)
    path = tmp_path_factory.mktemp("pairs") / "checkpoint.npz"
    save(path, random_model(vocab_size=20), tokenizer)
    found = load(path).tokenizer
    assert isinstance(found, BPETokenizer)
    assert found.state() == tokenizer.state()
    assert found.encode("a0a<end>").tolist() == tokenizer.encode("a0a<end>").tolist()


def test_a_tied_head_is_still_tied_after_loading(random_model, tmp_path):
    path = tmp_path / "checkpoint.npz"
    save(path, small_model(random_model, tied=True), TOKENIZER)
    model = load(path).model
    before, _ = model.forward(np.array([[1]]))
    model.parameters["wte.weight"][5] += 1  # an id that is not read: only the head can tell
    after, _ = model.forward(np.array([[1]]))
    assert (before[0, 0] != after[0, 0]).tolist() == [i == 5 for i in range(TOKENIZER.vocab_size)]


def test_ten_steps_are_four_and_saving_and_loading_and_six(random_model, tmp_path):
    gradients = np.random.default_rng(0).normal(size=(10, small_model(random_model).parameters.vector.size))
    gradients = gradients.astype(np.float32)

    def optimizer_of(model):
        return AdamW(model.parameters, 0.01, (0.8, 0.95), 1e-6, 0.3)

    straight = small_model(random_model)
    optimizer = optimizer_of(straight)
    for g in gradients:
        optimizer.step(g)

    path = tmp_path / "checkpoint.npz"
    stopped = small_model(random_model)
    optimizer = optimizer_of(stopped)
    for g in gradients[:4]:
        optimizer.step(g)
    save(path, stopped, TOKENIZER, optimizer)
    found = load(path)
    assert found.optimizer.parameters is found.model.parameters
    assert found.optimizer.t == 4
    for g in gradients[4:]:
        found.optimizer.step(g)
    assert found.model.parameters.vector.tobytes() == straight.parameters.vector.tobytes()


def test_saving_changes_nothing(random_model, tmp_path):
    model = small_model(random_model)
    optimizer = AdamW(model.parameters)
    optimizer.step(np.ones_like(model.parameters.vector))
    before = [array.copy() for array in (model.parameters.vector, optimizer.m, optimizer.v)]
    save(tmp_path / "c.npz", model, TOKENIZER, optimizer)
    for array, old in zip((model.parameters.vector, optimizer.m, optimizer.v), before, strict=True):
        assert (array == old).all()


# ---- writing


def test_writing_replaces_the_whole_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two and more")
    assert path.read_bytes() == b"two and more"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file(saved, random_model, monkeypatch, call):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, call, full)
    with pytest.raises(RunDirectoryError, match=rf"cannot write {saved}: No space left on device"):
        save(saved, small_model(random_model, seed=1), TOKENIZER)
    assert saved.read_bytes() == before
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]
    load(saved)


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"cannot write .*No such file or directory"):
        write_atomically(tmp_path / "none" / "file", b"")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(RunDirectoryError, match=r"cannot write .*Not a directory"):
        write_atomically(tmp_path / "taken" / "file", b"")


def test_json_is_readable_text(tmp_path):
    write_json(tmp_path / "a.json", {"é": [1, 0.1]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"é": [1, 0.1]}
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")


# ---- run directories


def test_a_new_directory_is_made(tmp_path):
    path = prepare_directory(tmp_path / "a" / "b")
    assert path.is_dir()
    assert (path / "config.json").exists()


def test_a_used_directory_is_refused_unless_overwritten(tmp_path):
    path = prepare_directory(tmp_path / "run")
    (path / "metrics.jsonl").write_text("x", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match=r"already holds config.json; choose another --out or give --overwrite"):
        prepare_directory(path)
    assert (path / "metrics.jsonl").exists()
    prepare_directory(path, overwrite=True)
    assert not (path / "metrics.jsonl").exists()


def test_foreign_files_are_never_deleted(tmp_path):
    path = prepare_directory(tmp_path / "run")
    (path / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match=r"thesis\.tex, which is not of a run; nothing was deleted"):
        prepare_directory(path, overwrite=True)
    assert (path / "thesis.tex").exists()
    assert (path / "config.json").exists()


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(RunDirectoryError, match=r"cannot use .*run as a run directory"):
        prepare_directory(tmp_path / "run", overwrite=True)


def test_the_next_free_name(tmp_path):
    assert fresh_directory(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    assert fresh_directory(tmp_path / "run") == tmp_path / "run-2"
    (tmp_path / "run-2").touch()
    assert fresh_directory(tmp_path / "run") == tmp_path / "run-3"


def test_the_config_is_saved_under_its_own_names(saved, random_model):
    with np.load(saved) as file:
        meta = json.loads(str(file["meta"]))
    assert meta["config"] == dataclasses.asdict(small_model(random_model).config)
    assert meta["names"] == list(small_model(random_model).parameters)
    assert isinstance(GPT(small_model(random_model).config, rng=0), GPT)


def test_a_new_directory_holds_the_configuration_at_once(tmp_path):
    path = prepare_directory(tmp_path / "run", config={"seed": 3})
    assert json.loads((path / "config.json").read_text()) == {"seed": 3}
    assert [entry.name for entry in path.iterdir()] == ["config.json"]
