"""`python -m benchmarks` as a user runs it, at the smallest shape for the shortest time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEERS = ("torch", "jax", "transformers", "gymnasium")


@pytest.fixture
def without_peers(tmp_path):
    """A directory of packages that cannot be imported, as if they were not installed."""
    for name in PEERS:
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})\n")
    return {"PYTHONPATH": str(tmp_path)}


def run(*arguments, environment=None, status=0):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, env={**os.environ, **(environment or {})}, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    return done


def test_without_peers_each_is_said_to_be_missing(without_peers):
    out = run("train", "reinforce", "logprobs", "--shapes", "micro", "--seconds", "0", environment=without_peers).stdout
    for entry in ("train", "reinforce", "logprobs"):
        table = out[out.index(f"{entry}: ") :].split("\n\n")[0]
        assert "torch eager               missing: torch is not installed" in table
        assert "JAX jit                   missing: jax is not installed" in table
    assert "its matrix products alone" in out


def test_json_of_two_thread_counts_is_two_objects(without_peers):
    arguments = ["generate", "--shapes", "micro", "--seconds", "0", "--threads", "1,2", "--json"]
    out = run(*arguments, "--peers", "loop,transformers", environment=without_peers).stdout
    found = [json.loads(line) for line in out.splitlines()]
    assert [(one["benchmark"], one["threads"]) for one in found] == [("generate", 1), ("generate", 2)]
    rows = [(row["case"], row["peer"], row["missing"]) for row in found[0]["rows"]]
    peers = ["torch loop with a cache", "transformers generate"]
    wanted = [(f"micro, batch {B}", peer, "torch is not installed (pip install '.[bench]')") for B in (1, 32) for peer in peers]
    assert rows == wanted


def test_environments_and_processes_without_peers(without_peers):
    found = [json.loads(line) for line in run("envs", "hot", "--seconds", "0", "--json", environment=without_peers).stdout.splitlines()]
    assert {row["missing"] for row in found[0]["rows"]} == {"gymnasium is not installed (pip install '.[bench]')"}
    assert all(row["ratio"] > 0 for row in found[1]["rows"])
    assert len(found[1]["rows"]) >= 15


def test_blas_starts_with_the_threads_that_were_asked_for_and_its_own_kernel(without_peers):
    environment = {**without_peers, "OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "7"}
    out = run("train", "--shapes", "micro", "--seconds", "0", "--json", environment=environment).stdout
    found = json.loads(out)
    assert "Prescott" not in found["BLAS"]
    assert "kernel" in found["BLAS"]
    assert "1 used" in found["processor"] or not hasattr(os, "sched_setaffinity")


@pytest.mark.parametrize(("arguments", "message"), [(["nonsense"], "no entry 'nonsense'"), (["train", "--seconds", "x"], "--seconds")])
def test_a_wrong_command_line_has_status_2(arguments, message):
    assert message in run(*arguments, status=2).stderr


def test_an_unknown_shape_is_an_error():
    assert "there is no shape 'huge'; there are micro, tiny" in run("train", "--shapes", "huge", status=2).stderr


@pytest.mark.slow
def test_the_loop_without_a_cache_is_always_there(without_peers):
    found = json.loads(run("generate", "--shapes", "micro", "--seconds", "0", "--peers", "NumPy", "--json", environment=without_peers).stdout)
    assert all(row["ratio"] > 0 for row in found["rows"])


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["train", "reinforce", "logprobs", "generate", "import"])
def test_with_peers_all_sides_compute_the_same(entry):
    for name in ("torch", "jax", "transformers"):
        pytest.importorskip(name)
    found = json.loads(run(entry, "--shapes", "micro", "--seconds", "0", "--json").stdout)
    assert [row["missing"] for row in found["rows"]] == [None] * len(found["rows"])
    assert all(row["ratio"] > 0 for row in found["rows"])
