"""`minillm fit`, `sample` and `inspect` as a user meets them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from minillm.cli import main

SMALL = ["--preset=micro", "--steps=6", "--eval-every=3", "--n-layer=2", "--sample-length=8", "--eval-batches=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fit") / "run"
    assert main(["fit", "--out", str(directory), *SMALL]) == 0
    return directory


def test_fit_without_a_file_trains_on_the_sonnets_and_prints_the_yardsticks(tmp_path, capsys):
    assert main(["fit", "--out", str(tmp_path / "run"), *SMALL]) == 0
    out = capsys.readouterr().out
    for name in ("unigram", "bigram", "xz", "minillm", "validation loss", "seed 0"):
        assert name in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["bits_per_character"]["unigram"] == pytest.approx(4.5259, abs=1e-4)
    assert summary["bits_per_character"]["xz"] == pytest.approx(2.9, abs=0.02)


def test_options_go_into_the_configuration(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abc\n" * 100)
    out = tmp_path / "run"
    assert main(["fit", str(text), "--out", str(out), *SMALL, "--dropout=0.25", "--lr=0.5", "--min-lr=0.25", "--seed=7"]) == 0
    config = json.loads((out / "config.json").read_text())
    expected = {"n_layer": 2, "n_embd": 16, "resid_pdrop": 0.25, "embd_pdrop": 0.25, "attn_pdrop": 0.25, "lr": 0.5, "seed": 7}
    assert {name: config[name] for name in expected} == expected
    assert config["texts"] == [str(text)]


def test_the_pictures_are_pngs(run, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need the extra 'plot'")
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert main(["inspect", str(run), "--plot", str(tmp_path / "attention.png")]) == 0
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_run_goes_on_and_inspect_names_the_extra(tmp_path, capsys, monkeypatch, run, fails):
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["fit", "--out", str(tmp_path / "run"), *SMALL]) == 0
    assert "minillm-numpy[plot]" in capsys.readouterr().out
    assert "minillm-numpy[plot]" in fails("inspect", run, "--plot", tmp_path / "x.png")


def test_sample_repeats_itself_and_temperature_zero_needs_no_seed(run, capsys):
    def text(*options):
        assert main(["sample", str(run), "--length=60", *options]) == 0
        return capsys.readouterr().out

    assert text("--prompt=Shall I") == text("--prompt=Shall I")
    assert text("--prompt=Shall I").startswith("Shall I")
    assert text("--seed=1") != text("--seed=2")
    assert text("--temperature=0", "--seed=1") == text("--temperature=0", "--seed=2") == text("--top-k=1")
    assert text("--top-p=1e-9") == text("--top-k=1")
    assert len(text("--length=60", "--temperature=0")) > 3 * 16  # far beyond n_positions


def test_inspect_shows_parameters_memory_positions_and_next_characters(run, capsys):
    assert main(["inspect", str(run), "--prompt=Shall", "--top=3"]) == 0
    out = capsys.readouterr().out
    for name in ("h.1.mlp.c_proj.weight", "16×48", "kept for the backward", "loss by position", "after 'Shall'"):
        assert name in out
    assert len(out.split("after 'Shall'\n")[1].splitlines()) == 3


def test_a_run_is_gone_on_with_and_contradictions_are_named(run, fails, tmp_path):
    before = (run / "checkpoint.npz").read_bytes()
    assert "n_layer is 2 in" in fails("fit", "--resume", run, "--n-layer", "3")
    assert "which 6 contradicts" in fails("fit", "--resume", run, "--preset", "small")
    assert "--resume" in fails("fit", "--resume", run, "--out", tmp_path / "x")
    assert "no run to go on with" in fails("fit", "--resume", tmp_path / "nowhere")
    assert (run / "checkpoint.npz").read_bytes() == before
    assert main(["fit", "--resume", str(run), "--n-layer", "2"]) == 0
    assert (run / "checkpoint.npz").read_bytes() == before


def test_errors_are_one_line_and_leave_no_directory(fails, tmp_path, run):
    out = tmp_path / "x"
    assert "cannot read" in fails("fit", tmp_path / "nowhere.txt", "--out", out)
    assert "n_head" in fails("fit", "--n-embd", "10", "--out", out)
    assert "at least 1" in fails("fit", "--steps", "0")
    assert "resid_pdrop must be" in fails("fit", "--dropout", "1", "--out", out)
    assert "--dropout sets attn_pdrop too" in fails("fit", "--dropout", "0.1", "--attn-pdrop", "0.2", "--out", out)
    assert not out.exists()
    assert "--overwrite" in fails("fit", "--out", run)
    assert "the corpus of this model lacks it" in fails("sample", run, "--prompt", "naïve")
    assert "temperature" in fails("sample", run, "--temperature", "-1")
    assert "no run directory" in fails("sample", tmp_path / "nowhere")
    assert "no run directory" in fails("inspect", tmp_path / "nowhere")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_finishes_the_step_saves_and_exits_130(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["fit", "--out", str(out), "--preset=micro", "--steps=100000"]
    process = subprocess.Popen([sys.executable, "-m", "minillm", *arguments], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and '"step": 3,' not in ((out / "metrics.jsonl").read_text() if (out / "metrics.jsonl").exists() else ""):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = err.strip().splitlines()[-1]
    assert last.startswith("minillm: interrupted after step ")
    assert f"minillm fit --resume {out}" in last
    assert "Traceback" not in err
    assert main(["sample", str(out), "--length=5"]) == 0
