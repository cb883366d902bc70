"""A study of 24 runs gives the same table, to the last bit, on every engine, and with a worker killed half-way too."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minillm.cli import main
from minillm.study import make_study, run_study
from minillm.study_table import write

SMALL = {"n_embd": 8, "n_head": 2, "collect_episodes": 16, "fit_steps": 2, "improve_steps": 2, "improve_episodes": 16}
GRID = {"env": ["text/bandit-2-1", "text/bandit-2-2"], "estimator": ["rloo", "reinforce"], "seeds": "0:6", **SMALL}
TOML = "".join(f"{name} = {json.dumps(value)}\n" for name, value in GRID.items())
TABLES = ("runs.csv", "table.csv")


@pytest.fixture(autouse=True)
def workers_find_us(helpers, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.getcwd(), str(helpers)]))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("DIED", str(tmp_path / "died"))


def tables(where, folder):
    """Run the study with this executor and return the bytes of its tables."""
    study = make_study(GRID)
    outcome = run_study(study, folder, where, quiet=True)
    assert outcome.errors == {}
    write(study, outcome.results, folder)
    return [(folder / name).read_bytes() for name in TABLES]


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The tables that the command line writes, computed in one process."""
    folder = tmp_path_factory.mktemp("serial")
    (folder / "grid.toml").write_text(TOML)
    assert main(["study", str(folder / "grid.toml"), "--executor", "serial", "--out", str(folder / "study")]) == 0
    found = [(folder / "study" / name).read_bytes() for name in TABLES]
    assert len(found[0].splitlines()) == 25
    return found


@pytest.fixture
def one_worker_is_killed(monkeypatch, tmp_path):
    """The run of one seed kills its worker the first time."""
    import jobs_for_workers

    monkeypatch.setattr("minillm.study.train_once", jobs_for_workers.train_once_deadly)
    yield
    assert (tmp_path / "died").exists()


def test_on_two_processes(serial, tmp_path):
    assert tables("process:2", tmp_path / "study") == serial


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_on_two_processes_of_which_one_is_killed(serial, tmp_path, one_worker_is_killed):
    assert tables("process:2", tmp_path / "study") == serial


@pytest.fixture
def dask():
    return pytest.importorskip("distributed", reason="needs the extra 'distributed'")


@contextlib.contextmanager
def cluster(folder):
    """A dask scheduler with two workers, each a process, on this machine; its address."""
    command = [sys.executable, "-m", "distributed.cli.dask_"]
    file, quiet = str(folder / "scheduler.json"), {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = ["--scheduler-file", file, "--no-dashboard"]

    def start(what, *more):
        return subprocess.Popen([*command[:2], command[2] + what, *options, *more], **quiet)

    started = [start("scheduler", "--host", "127.0.0.1", "--port", "0")]
    try:
        for k in range(2):
            started.append(start("worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(folder / str(k))))
        while not Path(file).exists():
            assert started[0].poll() is None
            time.sleep(0.05)
        yield json.loads(Path(file).read_text())["address"]
    finally:
        for process in started:
            process.terminate()
            process.wait(timeout=30)


def test_on_a_dask_scheduler_with_two_workers(serial, tmp_path, dask):
    with cluster(tmp_path) as address:
        assert tables(address, tmp_path / "study") == serial


def test_on_a_dask_scheduler_with_two_workers_of_which_one_is_killed(serial, tmp_path, dask, one_worker_is_killed):
    with cluster(tmp_path) as address:
        assert tables(address, tmp_path / "study") == serial


@pytest.mark.parametrize("ranks", [2, 3])
def test_on_ranks_of_mpi(serial, tmp_path, ranks):
    """Rank 0 hands out, the others work."""
    pytest.importorskip("mpi4py", reason="needs the extra 'mpi'")
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if mpiexec is None:
        pytest.skip("needs mpiexec")
    (tmp_path / "grid.toml").write_text(TOML)
    command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "mpi4py.futures", "-m", "minillm", "study"]
    command += [str(tmp_path / "grid.toml"), "--executor", "mpi", "--out", str(tmp_path / "study")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert [(tmp_path / "study" / name).read_bytes() for name in TABLES] == serial
