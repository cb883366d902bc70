"""Runs that start from a checkpoint: the end to end of `minillm train ENV --model DIR`, and what is refused before a run begins."""

import dataclasses
import json
import os
import runpy
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import envs
from minillm import GPT
from minillm.bpe import BPETokenizer
from minillm.checkpoint import load, prepare_directory
from minillm.cli import main
from minillm.errors import UserError
from minillm.pretrained.safetensors import SafeTensors
from minillm.run import Run, load_run, resume_run
from minillm.start import longest_transcript, start, with_value_head
from minillm.tokenizer import CharTokenizer
from minillm.train_config import TrainConfig
from minillm.training import collect, uniform_policy
from minillm.transcripts import transcript_ids

TESTS = Path(__file__).parents[1]
AGENT = TESTS / "data" / "agent"
SHORT = ["--collect-episodes=64", "--fit-steps=2", "--improve-steps=2", "--improve-episodes=16"]
SMALL = ["--collect-episodes=64", "--fit-steps=20", "--improve-steps=20", "--improve-episodes=64", "--improve-lr=0.01"]
WORLD = "text/bandit-3-2"


@pytest.fixture
def copied(tmp_path):
    return Path(shutil.copytree(AGENT, tmp_path / "agent"))


def test_the_stored_checkpoint_is_what_the_script_makes(tmp_path):
    runpy.run_path(str(TESTS / "make_agent_data.py"))["make"](tmp_path)
    for name in ("config.json", "vocab.json", "merges.txt"):
        assert (tmp_path / name).read_bytes() == (AGENT / name).read_bytes()
    made, stored = (SafeTensors(place / "model.safetensors") for place in (tmp_path, AGENT))
    assert made.keys() == stored.keys()
    assert all((made[name] == stored[name]).all() for name in made)


def test_a_run_starts_from_the_weights_and_the_tokenizer_of_the_directory():
    config, tokenizer, model = start(TrainConfig(env=WORLD, model=str(AGENT)), envs.exact(WORLD), 0)
    assert (model.parameters.vector == GPT.from_pretrained(AGENT).parameters.vector).all()
    assert tokenizer.state() == BPETokenizer.from_pretrained(AGENT).state()
    assert (config.n_embd, config.n_layer, config.n_head, config.initializer_range) == (16, 2, 2, 0.1)
    assert config.model == str(AGENT)


def test_without_a_model_a_run_starts_from_characters():
    config, tokenizer, model = start(TrainConfig(env=WORLD), envs.exact(WORLD), 0)
    assert config == TrainConfig(env=WORLD)
    assert isinstance(tokenizer, CharTokenizer)
    assert model.config.vocab_size == tokenizer.vocab_size


def test_a_run_that_was_stopped_goes_on_to_the_same_bits_without_the_directory(copied, tmp_path, monkeypatch):
    config = TrainConfig(env=WORLD, model=str(copied), collect_episodes=64, fit_steps=2, improve_steps=2, improve_episodes=16)
    whole, stopped = (Run(config, prepare_directory(tmp_path / name), quiet=True) for name in ("whole", "stopped"))
    whole.execute()
    monkeypatch.setattr(stopped, "landmark", lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="after step 1"):
        stopped.execute()
    shutil.rmtree(copied)
    again = resume_run(stopped.directory, {}, quiet=True)
    again.execute()
    assert again.model.parameters.vector.tobytes() == whole.model.parameters.vector.tobytes()


def test_it_learns_and_the_run_needs_the_directory_no_more(copied, tmp_path, capsys):
    a, b = (str(tmp_path / name) for name in "ab")
    assert main(["train", WORLD, "--model", str(copied), "--out", a, "--save-coefficients", *SMALL]) == 0
    assert main(["train", WORLD, "--model", str(copied), "--out", b, "--estimator", "grpo", "--save-coefficients", *SMALL]) == 0
    shutil.rmtree(copied)
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["exact"]["improve"] > summary["exact"]["fit"] + 0.1
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert (config["model"], config["n_embd"], config["n_layer"]) == (str(copied), 16, 2)
    capsys.readouterr()
    assert main(["evaluate", a]) == 0
    assert repr(summary["exact"]["improve"]) in capsys.readouterr().out
    assert main(["play", a, "--episodes", "2"]) == 0
    assert capsys.readouterr().out.count("episode ") == 2
    assert main(["coefficients", a, b, "--show", "200"]) == 1
    shown = capsys.readouterr().out
    assert "'ab'" in shown or "'bc'" in shown  # a token of two characters
    assert "⟨end⟩" in shown
    agent, _, _ = load_run(tmp_path / "a")
    assert agent.tokenizer.state() == BPETokenizer.from_pretrained(AGENT).state()


def test_a_run_that_was_stopped_goes_on_without_the_directory(copied, tmp_path, monkeypatch):
    config = TrainConfig(env=WORLD, model=str(copied), collect_episodes=16, fit_steps=3, improve_steps=4, improve_episodes=16)
    whole, stopped = (Run(config, prepare_directory(tmp_path / name), quiet=True) for name in ("whole", "stopped"))
    summary, pause = whole.execute(), stopped.pause

    def stop():
        if stopped.step == 5:
            shutil.rmtree(copied)
            os.kill(os.getpid(), signal.SIGINT)
        pause()

    monkeypatch.setattr(stopped, "pause", stop)
    with pytest.raises(KeyboardInterrupt):
        stopped.execute()
    again = resume_run(tmp_path / "stopped", {}, quiet=True)
    assert again.step == 5
    assert again.execute()["exact"] == summary["exact"]
    assert (again.model.parameters.vector == whole.model.parameters.vector).all()


@pytest.mark.parametrize("estimator", ["gae", "kl_full"])
def test_a_value_head_and_a_reference_come_to_it_where_they_are_needed(tmp_path, estimator):
    out = tmp_path / "run"
    assert main(["train", WORLD, "--model", str(AGENT), "--out", str(out), "--estimator", estimator, *SHORT]) == 0
    assert load(out / "checkpoint.npz").model.config.value_head == (estimator == "gae")


def test_a_value_head_of_zeros_changes_no_logits():
    model = GPT.from_pretrained(AGENT)
    headed = with_value_head(model)
    ids = np.array([[1, 2, 3]])
    assert (headed.forward(ids)[0] == model.forward(ids)[0]).all()
    assert (headed.values(headed.forward(ids)[1]) == 0).all()
    assert headed.parameters.keys() - model.parameters.keys() == {"v_head.summary.weight", "v_head.summary.bias"}


@pytest.mark.parametrize("world", [WORLD, "grid/empty-3", "dialogue/slots", "adventure/rooms"])
def test_the_longest_transcript_is_that_of_the_longest_parts(world):
    mdp, tokenizer = envs.exact(world), BPETokenizer.from_pretrained(AGENT)
    back = max(len(tokenizer.encode(f"{reward:g}\n{text}")) for reward in np.unique(mdp.rewards) for text in mdp.state_texts.tolist())
    state, action = (max(len(tokenizer.encode(text)) for text in texts.tolist()) for texts in (mdp.state_texts, mdp.action_texts))
    assert longest_transcript(tokenizer, mdp) == state + action + back + 2
    played = envs.VectorEnv(mdp, 64, seed=0, autoreset="disabled")
    _, lengths = transcript_ids(tokenizer, collect(played, uniform_policy(tokenizer, mdp.action_texts, 0)))
    assert lengths.max() - 1 <= longest_transcript(tokenizer, mdp)  # the last token is not read


REFUSED = {
    "short": ("config.json", {"n_positions": 6}, "has shape [96, 16], config.json makes it [6, 16]"),
    "vocabulary": ("vocab.json", {"more": 400}, "the tokenizer has 401 ids, but vocab_size in config.json is 273"),
    "architecture": ("config.json", {"model_type": "bert"}, "config.json: model_type is 'bert', expected 'gpt2'"),
    "no byte": ("vocab.json", {"?": None}, "the vocabulary has no token for the byte 0x3F of '?'"),
    "special": ("tokenizer_config.json", {"added_tokens_decoder": {"5": {"content": "?", "special": True}}}, "the text '?' holds '?'"),
    "end": ("tokenizer_config.json", {"eos_token": "<|im_end|>"}, "the end token '<|im_end|>' is not among the special tokens"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_start_is_one_line_and_leaves_no_directory(copied, tmp_path, fails, name):
    file, change, message = REFUSED[name]
    old = json.loads((copied / file).read_text(encoding="utf-8")) if (copied / file).exists() else {}
    new = {key: value for key, value in (old | change).items() if value is not None}
    (copied / file).write_text(json.dumps(new), encoding="utf-8")
    assert message in fails("train", WORLD, "--model", copied, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_context_that_is_too_short_says_how_long_it_must_be(copied, tmp_path, fails):
    needed = longest_transcript(BPETokenizer.from_pretrained(AGENT), envs.exact(WORLD))
    shape = GPT.from_pretrained(AGENT).config
    GPT(dataclasses.replace(shape, n_positions=needed - 1), rng=0).save_pretrained(copied)
    said = fails("train", WORLD, "--model", copied, "--out", tmp_path / "run")
    assert f"{WORLD} has transcripts of up to {needed} tokens" in said
    assert f"but n_positions in {copied / 'config.json'} is {needed - 1}" in said
    GPT(dataclasses.replace(shape, n_positions=needed), rng=0).save_pretrained(copied)
    assert main(["train", WORLD, "--model", str(copied), "--out", str(tmp_path / "run"), *SHORT]) == 0


def test_a_name_that_is_nowhere_a_file_that_is_missing_and_a_size_of_ones_own(copied, tmp_path, fails, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert "nothing is downloaded: place config.json" in fails("train", WORLD, "--model", "gpt2-of-nobody")
    assert "do not go with --model" in fails("train", WORLD, "--model", copied, "--n-embd", "8")
    (copied / "vocab.json").unlink()
    assert "has neither tokenizer.json nor vocab.json and merges.txt" in fails("train", WORLD, "--model", copied)
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    assert "pytorch_model.bin is a pickle" in fails("train", WORLD, "--model", copied)
    with pytest.raises(UserError, match=r"model must be of type str \| None, got 3"):
        TrainConfig(model=3)
