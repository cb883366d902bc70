"""One string says where; what is wrong with it is one line; workers are on one core and do not outlive us."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from minillm.errors import MissingExtra, UserError
from minillm.executors import SerialExecutor, WorkerProcesses, abandon, executor, number_of_workers


def test_serial_calls_at_once_and_keeps_errors_for_later():
    with executor("serial") as serial:
        assert isinstance(serial, SerialExecutor)
        assert number_of_workers(serial) == 1
        assert serial.submit(divmod, 7, 2).result() == (3, 1)
        assert isinstance(serial.submit(divmod, 7, 0).exception(), ZeroDivisionError)
        assert list(serial.map(abs, [-1, 2])) == [1, 2]
        with pytest.raises(KeyboardInterrupt):
            serial.submit(_interrupt)


def _interrupt():
    raise KeyboardInterrupt


def test_the_environment_says_where_when_nothing_else_does(monkeypatch):
    monkeypatch.setenv("MINILLM_EXECUTOR", "serial")
    assert isinstance(executor(), SerialExecutor)
    with executor("process:3") as chosen:
        assert number_of_workers(chosen) == 3
    monkeypatch.delenv("MINILLM_EXECUTOR")
    with executor() as default:
        assert isinstance(default, WorkerProcesses)


def test_a_factory_is_called(helpers):
    with executor("concurrent.futures:ThreadPoolExecutor") as threads:
        assert isinstance(threads, ThreadPoolExecutor)
        assert number_of_workers(threads) >= 1
    assert number_of_workers(executor("jobs_for_workers:NotMine")) >= 1


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("proces", "got 'proces'"),
        ("process:0", "process:N"),
        ("process:-1", "process:N"),
        ("process:two", "process:N"),
        ("nowhere_at_all:factory", "ModuleNotFoundError"),
        ("concurrent.futures:nothing", "AttributeError"),
        ("jobs_for_workers:no_executor", "returns int, expected a concurrent.futures.Executor"),
        ("jobs_for_workers:failing", "the queue is closed"),
    ],
)  # fmt: skip
def test_what_is_no_executor_is_one_line(helpers, where, told):
    with pytest.raises(UserError, match=r"^[^\n]*$") as raised:
        executor(where)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("where", "package", "extra"), [("tcp://127.0.0.1:1", "distributed", "distributed"), ("mpi", "mpi4py", "mpi")]
)
def test_a_missing_extra_is_named(monkeypatch, where, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"minillm-numpy\[{extra}\]"):
        executor(where)


def test_workers_are_processes_of_one_core(helpers):
    import jobs_for_workers

    with executor("process:1") as workers:
        pid, threads = workers.submit(jobs_for_workers.worker_of, 0).result()
    assert pid != os.getpid()
    assert threads <= 3  # itself, the one that waits for the parent's end, that of the queue


def test_what_is_abandoned_ends_at_once():
    workers = executor("process:1")
    future = workers.submit(time.sleep, 60)
    while not future.running():
        time.sleep(0.01)
    start = time.monotonic()
    abandon(workers)
    with pytest.raises(Exception, match="terminated"):
        future.result(timeout=30)
    assert time.monotonic() - start < 30


PARENT = """
import os, time
from minillm.executors import executor
if __name__ == "__main__":
    workers = executor("process:1")
    print(workers.submit(os.getpid).result(), flush=True)
    workers.submit(time.sleep, 60)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, tmp_path / "parent.py"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as parent:
        assert int(parent.stdout.readline()) != parent.pid
        parent.send_signal(signal.SIGKILL)
        parent.communicate(timeout=30)  # to the end of its output, which the worker holds open too


def test_no_scheduler_is_one_line(monkeypatch):
    pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    monkeypatch.setattr("minillm.executors.PATIENCE", 1)
    with pytest.raises(UserError, match=r"no dask scheduler answers at tcp://127.0.0.1:9"):
        executor("tcp://127.0.0.1:9")
    with pytest.raises(UserError, match="no dask scheduler answers"):
        executor("tcp://nonsense")


def test_mpi_says_how_it_is_started():
    pytest.importorskip("mpi4py", reason="needs the extra 'mpi'")
    with pytest.raises(UserError, match=r"mpiexec -n N python -m mpi4py.futures -m minillm"):
        executor("mpi")
