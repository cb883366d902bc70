"""Keyed jobs: the same results from any engine and any number of sessions; what fails is reported, what is done is not done again."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from minillm.errors import RunDirectoryError
from minillm.executors import executor
from minillm.jobs import run_jobs
from minillm.ledger import Ledger

JOBS = {f"x={x}": x for x in range(40)}
SERIAL = functools.partial(executor, "serial")


@pytest.fixture(autouse=True)
def jobs_of_workers(helpers):
    pass


def third(x):
    return {"third": x / 3, "of": x}


def test_results_come_in_the_order_of_the_jobs_and_to_the_last_bit(tmp_path):
    import jobs_for_workers

    serial = run_jobs(jobs_for_workers.third, JOBS, tmp_path / "serial", SERIAL, quiet=True)
    assert list(serial.results.items()) == [(key, third(x)) for key, x in JOBS.items()]
    assert serial.errors == {}
    threads = run_jobs(
        jobs_for_workers.slow_third, JOBS, tmp_path / "threads", functools.partial(executor, "concurrent.futures:ThreadPoolExecutor"),
        quiet=True,
    )  # fmt: skip
    assert json.dumps(threads.results) == json.dumps(serial.results)


def test_only_what_is_missing_is_done(tmp_path):
    done = []

    def work(x):
        done.append(x)
        return third(x)

    first = run_jobs(work, dict(list(JOBS.items())[7:20]), tmp_path / "j", SERIAL, quiet=True)
    assert done == list(range(7, 20))
    second = run_jobs(work, JOBS, tmp_path / "j", SERIAL, quiet=True)
    assert sorted(done) == list(range(40))
    assert list(second.results) == list(JOBS)
    assert first.results.items() <= second.results.items()

    def never():
        raise AssertionError("there is nothing to do")

    assert run_jobs(work, JOBS, tmp_path / "j", never, quiet=True) == second


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_poisoned_jobs_are_reported_and_the_others_finish(tmp_path):
    import jobs_for_workers

    jobs = {f"x={x}": x for x in range(9)}
    outcome = run_jobs(jobs_for_workers.moody, jobs, tmp_path / "j", functools.partial(executor, "process:1"), quiet=True)
    assert outcome.results == {key: third(x) for key, x in jobs.items() if x not in (3, 5, 7)}
    assert list(outcome.errors) == ["x=3", "x=5", "x=7"]
    assert outcome.errors["x=3"] == "ValueError: three lines"
    assert outcome.errors["x=5"].startswith("lost its worker 4 times: BrokenProcessPool: ")
    assert "not JSON serializable" in outcome.errors["x=7"]
    again = run_jobs(jobs_for_workers.third, jobs, tmp_path / "j", SERIAL, quiet=True)  # what failed is tried again, when mended
    assert again.results == {key: third(x) for key, x in jobs.items()}
    assert again.errors == {}


def test_another_configuration_under_a_key_is_refused(tmp_path):
    run_jobs(third, {"a": 1}, tmp_path / "j", SERIAL, quiet=True)
    with pytest.raises(RunDirectoryError, match=r"j, line 1: the configuration is 1 there, which 2 contradicts, under 'a'"):
        run_jobs(third, {"a": 2}, tmp_path / "j", SERIAL, quiet=True)
    run_jobs(str, {"b": {"lr": 1, "n": 3}}, tmp_path / "k", SERIAL, quiet=True)
    with pytest.raises(RunDirectoryError, match=r"lr is 1 there, which 2 contradicts, under 'b'"):
        run_jobs(str, {"b": {"n": 3, "lr": 2}}, tmp_path / "k", SERIAL, quiet=True)
    with Ledger(tmp_path / "other") as book:
        book.add([{"name": "a"}])
    with pytest.raises(RunDirectoryError, match="line 1, is not of a study"):
        run_jobs(third, {"a": 2}, tmp_path / "other", SERIAL, quiet=True)


def test_progress_says_what_is_left_and_what_failed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minillm.progress._tqdm", lambda *_: None)

    def work(x):
        return 1 / (x - 1)

    run_jobs(work, {"a": 0, "b": 1, "c": 2}, tmp_path / "j", SERIAL, name="study")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("study: 1/3 runs, 0 s, 0 s left")
    assert lines[-1].endswith("left, failed 1")


SESSION = """
import functools, json, pathlib, signal, sys
from minillm.executors import executor
from minillm.jobs import run_jobs
import jobs_for_workers
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs us in the background has it ignored
    outcome = run_jobs(
        jobs_for_workers.slow_third, {f"x={x}": x for x in range(40)}, pathlib.Path(sys.argv[1]), functools.partial(executor, sys.argv[2]),
        quiet=True)
    print(json.dumps(outcome.results))
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_session_that_is_killed_or_interrupted_is_gone_on_with(tmp_path, helpers, how):
    (tmp_path / "session.py").write_text(SESSION)
    journal = tmp_path / "j"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), str(helpers)])}
    command = [sys.executable, str(tmp_path / "session.py"), str(journal)]
    with subprocess.Popen([*command, "process:1"], stderr=subprocess.DEVNULL, env=environment) as session:
        while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
            assert session.poll() is None
            time.sleep(0.01)
        session.send_signal(how)
        assert session.wait(timeout=30) != 0
    lines = journal.read_bytes().count(b"\n")
    assert 5 <= lines < 40
    done = subprocess.run([*command, "serial"], check=True, stdout=subprocess.PIPE, env=environment)
    assert json.loads(done.stdout) == {f"x={x}": third(x) for x in range(40)}
    assert journal.read_bytes().count(b"\n") == 40
