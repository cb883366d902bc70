"""Runs on disk that were changed: 10,000 of them (a share in the plain run) are errors of one line, or good loads that go on to the end."""

import io
import json
import math
import random

import numpy as np
import pytest

from minillm import checkpoint, text_run
from minillm.errors import UserError
from minillm.fit_config import FitConfig
from minillm.run import Run, load_run, resume_run
from minillm.text_run import TextRun, load_text_model, read_corpus, resume_text_run
from minillm.train_config import TrainConfig

FIT = FitConfig(
    n_layer=1, n_head=1, n_embd=4, n_positions=6, steps=4, batch_size=2, eval_every=2, eval_batches=1, sample_length=2
)
TRAIN = TrainConfig(
    env="text/bandit-2-2", n_embd=4, n_head=1, n_layer=1, collect_episodes=4, fit_steps=2, fit_batch_size=2, improve_steps=2,
    improve_episodes=4, estimator="gae+kl_k3_loss_token",
)  # fmt: skip
HOSTILE = [
    None, True, False, -1, 0, 1, 2, 3, 7, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.5, -0.5, 1e308, math.nan, math.inf, "", "x", "a\nb",
    "../../x", "/etc/passwd", "9" * 50, [], [1], [[]], [None], ["a"], {}, {"a": 1}, {"state": 1}, [[1, 2]] * 3, [-1, -1], "\ud800",
]  # fmt: skip


@pytest.fixture(scope="module", params=["fit", "train"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, kind):
    """A directory, and its files after two of four steps, and at the end."""
    directory = tmp_path_factory.mktemp("fuzz") / "run"
    if kind == "train":
        run = Run(TRAIN, directory, quiet=True)
    else:
        text = directory.with_name("text.txt")
        text.write_text("abcab bca cab. " * 20)
        run = TextRun(FIT, read_corpus([text], FIT), directory, quiet=True, texts=[text])
    checkpoint.prepare_directory(directory, config=run.settings())
    states, pause = [], run.pause

    def keep():
        pause()
        if run.step == 3:
            run.save()
            states.append({path.name: path.read_bytes() for path in directory.iterdir()})

    run.pause = keep
    run.execute()
    states.append({path.name: path.read_bytes() for path in directory.iterdir()})
    return directory, states


def resume(kind, directory):
    run = resume_run(directory, {}, quiet=True) if kind == "train" else resume_text_run(directory, [], {})
    run.quiet = True
    return run


def execute(kind, directory):
    return resume(kind, directory).execute()


def bytes_changed(data, rng):
    """A few bytes set, inserted or cut out, or the end cut off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.choice([rng.randrange(len(data)), rng.randrange(min(300, len(data))), len(data) - 1 - rng.randrange(min(300, len(data)))])
        how = rng.random()
        if how < 0.6:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif how < 0.75:
            changed[at:at] = rng.randbytes(rng.randint(1, 9))
        elif how < 0.9:
            del changed[at : at + rng.randint(1, 9)]
        else:
            del changed[at:]
        if not changed:
            break
    return bytes(changed)


def value_changed(value, rng):
    """JSON in which one thing, anywhere, is another, is gone, or is new."""
    value = json.loads(json.dumps(value))
    place, key = [value], 0
    while isinstance(place[key], dict | list) and place[key] and rng.random() < 0.85:
        place = place[key]
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
    how = rng.random()
    if how < 0.8 or place[0 if isinstance(place, list) else key] is value:
        place[key] = rng.choice(HOSTILE) if how > 0.2 else [place[key]]
    elif how < 0.9:
        del place[key]
    elif isinstance(place, dict):
        place[rng.choice(["new", "lr", "../x"])] = rng.choice(HOSTILE)
    return value


def checkpoint_changed(data, rng, arrays=False):
    """A whole checkpoint, of sound sums, in which a fact or an array is another."""
    with np.load(io.BytesIO(data)) as file:
        held = {name: file[name] for name in file.files}
    if arrays:
        name = rng.choice(list(held))
        odd = [np.zeros(0), np.full_like(held["parameters"], np.nan), held["parameters"][:-1], np.zeros((2, 2)), np.array("{}"), np.array(-3)]
        odd += [held["parameters"].astype(t) for t in (np.float64, np.float16, np.complex64, np.int8, ">f4")] + [np.array([1, 2], np.uint8)]
        held[name] = rng.choice(odd)
        if rng.random() < 0.2:
            del held[rng.choice(list(held))]
    else:
        meta = json.loads(str(held["meta"]))
        part = rng.choice(["facts", "facts", "config", "all"])
        meta = value_changed(meta, rng) if part == "all" else dict(meta, **{part: value_changed(meta[part], rng)})
        held["meta"] = np.array(json.dumps(meta))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **held)
    return buffer.getvalue()


CHANGES = {
    "checkpoint.npz: bytes": bytes_changed,
    "checkpoint.npz: facts": checkpoint_changed,
    "checkpoint.npz: arrays": lambda data, rng: checkpoint_changed(data, rng, arrays=True),
    "config.json: bytes": bytes_changed,
    "config.json: values": lambda data, rng: json.dumps(value_changed(json.loads(data), rng)).encode(),
    "metrics.jsonl: bytes": bytes_changed,
    "both: values": None,
}


def changed_files(what, files, rng):
    """The files of a run, some of them changed; ``both``: config.json and what the checkpoint says of it, in the same way."""
    name, _, _ = what.partition(": ")
    if name != "both":
        return files | {name: CHANGES[what](files[name], rng)}
    config = value_changed(json.loads(files["config.json"]), rng)
    with np.load(io.BytesIO(files["checkpoint.npz"])) as file:
        held = {key: file[key] for key in file.files}
    meta = json.loads(str(held["meta"]))
    meta["facts"]["run"] = config
    buffer = io.BytesIO()
    np.savez(buffer, **{**held, "meta": np.array(json.dumps(meta))})
    return files | {"config.json": json.dumps(config).encode(), "checkpoint.npz": buffer.getvalue()}


def outcomes(kind, directory, states, what, seeds):
    """Resume, and load, each of the changed runs; return how many went on to the end."""
    good = 0
    for seed in seeds:
        rng = random.Random(f"{what} {seed}")
        for path in directory.iterdir():
            path.unlink()
        for name, data in changed_files(what, rng.choice(states), rng).items():
            (directory / name).write_bytes(data)
        last = resume if what == "both: values" else execute  # which would do as it was told: 10**30 steps
        for work in (lambda: load_run(directory) if kind == "train" else load_text_model(directory), lambda last=last: last(kind, directory)):
            try:
                work()
                good += 1
            except UserError as error:
                if "\n" in str(error):
                    raise AssertionError(f"seed {seed}: an error of several lines: {error}") from error
            except BaseException as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error
    return good


@pytest.mark.parametrize("what", list(CHANGES))
@pytest.mark.parametrize("cases", [22, pytest.param(720, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_a_run_that_was_changed_is_an_error_of_one_line_or_a_good_load(pristine, kind, monkeypatch, what, cases):
    directory, states = pristine
    monkeypatch.setattr(checkpoint.os, "fsync", lambda file: None)
    monkeypatch.setattr(text_run, "yardsticks", lambda corpus: {})
    good = outcomes(kind, directory, states, what, range(cases))
    assert good < 2 * cases  # not all of them: something was changed indeed


def test_an_unchanged_run_is_a_good_load(pristine, kind):
    """The control: the harness itself raises nothing."""
    directory, states = pristine
    for files in states:
        for path in directory.iterdir():
            path.unlink()
        for name, data in files.items():
            (directory / name).write_bytes(data)
        assert execute(kind, directory)["machine"]
