"""A run on text: it learns, and resumed it has the bits of one that was never stopped, wherever it was stopped."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from minillm import checkpoint, text_run
from minillm.corpus import Corpus
from minillm.errors import CheckpointError, NonFiniteError, RunDirectoryError, UserError
from minillm.fit_config import FitConfig
from minillm.resuming import require_agreement
from minillm.text_run import TextRun, load_text_model, read_corpus, resume_text_run

TEXT = "she sells sea shells by the sea shore\nthe shells she sells are sea shells\n" * 20
TINY = FitConfig(
    seed=5, n_layer=2, n_head=2, n_embd=16, n_positions=12, resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1, steps=24, batch_size=4,
    gradient_accumulation_steps=2, lr=1e-2, warmup_steps=5, eval_every=8, eval_batches=2, sample_length=10,
)  # fmt: skip


def start(tmp_path, config=TINY, name="run", text=TEXT):
    file = tmp_path / f"{name}.txt"
    file.write_text(text)
    directory = tmp_path / name
    run = TextRun(config, read_corpus([file], config), directory, quiet=True)
    checkpoint.prepare_directory(directory, config=run.facts([file]))
    return run


def bits(directory):
    """All that must be equal: parameters, moments, number of steps, best model, every metric and sample but the clock."""
    arrays = {}
    for name in ("checkpoint.npz", "best.npz"):
        with np.load(directory / name) as file:
            arrays |= {f"{name}/{key}": file[key].tobytes() for key in file.files if key != "meta"}
    metrics = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((directory / "summary.json").read_text())
    return arrays, [dict(record, seconds=0) for record in metrics], dict(summary, seconds=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = start(tmp_path_factory.mktemp("whole"))
    return run, run.execute()


def test_it_learns_and_the_summary_says_how_well_beside_simple_models(finished):
    _, summary = finished
    known = summary["bits_per_character"]
    assert known["minillm"] < known["unigram"]
    assert known["minillm"] == summary["validation_loss"] / np.log(2)
    assert (summary["steps"], summary["tokens"], summary["seed"]) == (24, 24 * 4 * 2 * 12, 5)


def test_the_metrics_have_losses_evaluations_and_samples(finished):
    run, summary = finished
    records = [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 25))
    assert [r["step"] for r in records if "validation_loss" in r] == [0, 8, 16, 24]
    assert [r["step"] for r in records if "sample" in r] == [8, 16, 24]
    best = min((r["validation_loss"], r["step"]) for r in records if "validation_loss" in r)
    assert best == (run.best, summary["best_step"])


def test_the_best_model_is_kept(tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.7, 0.5])
    monkeypatch.setattr(text_run, "mean_loss", lambda *_: next(losses))
    run = start(tmp_path, dataclasses.replace(TINY, steps=3, eval_every=1))
    assert run.execute()["best_step"] == 1
    assert (load_text_model(run.directory)[0].parameters.vector != run.model.parameters.vector).any()


@pytest.mark.parametrize("stop", [1, 8, 13, 23])
def test_interrupted_and_resumed_has_the_bits_of_not_stopping(finished, tmp_path, monkeypatch, stop):
    run = start(tmp_path)
    update = run._update

    def interrupt(progress):
        update(progress)
        if run.step == stop:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(run, "_update", interrupt)
    with pytest.raises(KeyboardInterrupt, match=f"after step {stop}; minillm fit --resume .* goes on"):
        run.execute()
    again = resume_text_run(run.directory, [], {"n_layer": 2})
    again.quiet = True
    assert again.step == stop
    again.execute()
    assert bits(run.directory) == bits(finished[0].directory)


def test_one_core_gives_the_bits_of_two(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("minillm.threads._cores", lambda: 1)
    run = start(tmp_path)
    run.execute()
    assert bits(run.directory) == bits(finished[0].directory)


def test_another_seed_gives_other_bits(finished, tmp_path):
    run = start(tmp_path, dataclasses.replace(TINY, seed=6, steps=10))
    run.execute()
    assert (run.model.parameters.vector != finished[0].model.parameters.vector).all()


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from minillm.text_run import resume_text_run

def work(directory):
    run = resume_text_run(directory, [], {})
    run.quiet = True
    run.execute()

directory, kills = Path(sys.argv[1]), int(sys.argv[2])
random.seed(0)
done = 0
for _ in range(kills):
    child = os.fork()
    if child == 0:
        work(directory)
        os._exit(0)
    time.sleep(random.uniform(0, 0.3))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    done += os.WIFSIGNALED(status)
    if not os.WIFSIGNALED(status):
        for name in ("checkpoint.npz", "best.npz", "metrics.jsonl", "summary.json"):
            (directory / name).unlink()
work(directory)
print(done)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_has_the_bits_of_not_stopping(finished, tmp_path, kills):
    """SIGKILL after 0 to 0.3 s, again and again, in the middle of whatever it is; a run that got through starts over."""
    run = start(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(run.directory), str(kills)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > kills // 2
    assert bits(run.directory) == bits(finished[0].directory)


@pytest.mark.parametrize("good", [7, 8, 9])
def test_a_full_disk_keeps_the_last_good_checkpoint(finished, tmp_path, monkeypatch, good):
    """The disk is full after so many writes: at the best model, the metrics or the checkpoint of the third evaluation."""
    run = start(tmp_path)
    sync, left = os.fsync, [good]

    def full(file):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunDirectoryError, match="No space left on device"):
        run.execute()
    monkeypatch.undo()
    assert not list(run.directory.glob("*.tmp"))
    again = resume_text_run(run.directory, [], {})
    again.quiet = True
    assert again.step == 8
    again.execute()
    assert bits(run.directory) == bits(finished[0].directory)


def test_what_is_not_finite_stops_the_run_and_the_last_good_checkpoint_stays(tmp_path, monkeypatch):
    run = start(tmp_path)
    update = run._update

    def poison(progress):
        if run.step == 19:
            run.model.parameters["ln_f.weight"][3] = np.inf
        update(progress)

    monkeypatch.setattr(run, "_update", poison)
    with pytest.raises(NonFiniteError, match="the loss is nan in step 19"):
        run.execute()
    found = checkpoint.load(run.directory / "checkpoint.npz")
    assert found.facts["step"] == 16
    assert np.isfinite(found.model.parameters.vector).all()


def test_a_key_that_contradicts_is_named(finished, tmp_path):
    directory = finished[0].directory
    with pytest.raises(RunDirectoryError, match=r"lr is 0\.01 in .*, which 0\.02 contradicts"):
        resume_text_run(directory, [], {"seed": 5, "lr": 0.02})
    (tmp_path / "other.txt").write_text(TEXT + "!")
    with pytest.raises(RunDirectoryError, match=r"corpus is '[0-9a-f]{64}' in"):
        resume_text_run(directory, [tmp_path / "other.txt"], {})
    require_agreement({"lr": 1}, {"lr": 1}, directory)


def test_a_checkpoint_of_something_else_is_said(tmp_path):
    run = start(tmp_path)
    other = start(tmp_path, dataclasses.replace(TINY, n_layer=1), "other")
    path = run.directory / "checkpoint.npz"
    checkpoint.save(path, other.model, other.corpus.tokenizer, other.optimizer, step=1, best=1.0, best_step=1, seconds=1.0)
    with pytest.raises(CheckpointError, match="another shape or alphabet"):
        run.resume()
    for facts in ({}, {"step": "1", "best": 1.0, "best_step": 1, "seconds": 1.0}):
        checkpoint.save(path, run.model, run.corpus.tokenizer, run.optimizer, **facts)
        with pytest.raises(CheckpointError, match="not of a run of minillm fit"):
            run.resume()
    (run.directory / "config.json").write_text('{"env": "grid/empty-5"}')
    with pytest.raises(RunDirectoryError, match="not of a run of minillm fit: see seed"):
        resume_text_run(run.directory, [], {})


@pytest.mark.parametrize(("text", "part"), [("abc", "training"), ("abcdefghijklmnopqrst", "validation")])
def test_a_text_that_is_too_short_is_said(text, part):
    with pytest.raises(UserError, match=f"the {part} part of the text has"):
        TextRun(dataclasses.replace(TINY, validation=0.05), Corpus.from_texts([text], 0.05), None)


def test_no_model_is_said(tmp_path):
    with pytest.raises(RunDirectoryError, match="no run directory"):
        load_text_model(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_text_model(tmp_path)
