"""A run on text: it learns, and resumed it has the bits of one that was never stopped, wherever it was stopped."""

import dataclasses
import json

import numpy as np
import pytest

from minillm import checkpoint, text_run
from minillm.corpus import Corpus
from minillm.errors import CheckpointError, RunDirectoryError, UserError
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
    run = TextRun(config, read_corpus([file], config), directory, quiet=True, texts=[file])
    checkpoint.prepare_directory(directory, config=run.settings())
    return run


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


def test_another_seed_gives_other_bits(finished, tmp_path):
    run = start(tmp_path, dataclasses.replace(TINY, seed=6, steps=10))
    run.execute()
    assert (run.model.parameters.vector != finished[0].model.parameters.vector).all()


def test_a_key_that_contradicts_is_named(finished, tmp_path):
    directory = finished[0].directory
    with pytest.raises(RunDirectoryError, match=r"lr is 0\.01 in .*, which 0\.02 contradicts"):
        resume_text_run(directory, [], {"seed": 5, "lr": 0.02})
    (tmp_path / "other.txt").write_text(TEXT + "!")
    with pytest.raises(RunDirectoryError, match=r"corpus is '[0-9a-f]{64}' in"):
        resume_text_run(directory, [tmp_path / "other.txt"], {})
    require_agreement({"lr": 1}, {"lr": 1}, directory)


@pytest.mark.parametrize(("text", "part"), [("abc", "training"), ("abcdefghijklmnopqrst", "validation")])
def test_a_text_that_is_too_short_is_said(text, part):
    with pytest.raises(UserError, match=f"the {part} part of the text has"):
        TextRun(dataclasses.replace(TINY, validation=0.05), Corpus.from_texts([text], 0.05), None)


def test_no_model_is_said(tmp_path):
    with pytest.raises(RunDirectoryError, match="no run directory"):
        load_text_model(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_text_model(tmp_path)
