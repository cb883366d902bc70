"""Whatever workers do, every call is answered, and the answer is the call's own."""

import functools
import math
import os
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.crew import AGAIN, Crew, answer_all
from minillm.errors import WorkerError
from minillm.executors import executor


class Pool(Executor):
    """Calls nothing until it is waited for; a call of a fatal item breaks it, with all that is under way, as long as it has lives."""

    workers = 2

    def __init__(self, fates, log):
        self.fates, self.log, self.under_way, self.broken = fates, log, [], False

    def submit(self, fn, /, *args):
        if self.broken:
            raise BrokenExecutor("broken")
        future = Future()
        function, items = args
        self.log.append(list(items))
        self.under_way.append((future, items))
        doomed = [item for item in items if self.fates.get(item, 0) > 0]
        if doomed:
            self.fates[doomed[0]] -= 1
            self.broken = True
            for lost, _ in self.under_way:
                if not lost.done():
                    lost.set_exception(BrokenExecutor("died"))
        elif len(self.under_way) >= 2 or len(self.log) % 3 == 0:  # now and then what waits is done
            for waiting, of in self.under_way:
                if not waiting.done():
                    waiting.set_result(answer_all(function, of))
        else:
            future.set_result(answer_all(function, items))
        return future


def run(items, fates, least=0.0):
    log, made = [], []

    def make():
        made.append(Pool(fates, log))
        return made[-1]

    answers = {}
    with Crew(make) as crew:
        for came in crew.run(functools.partial(math.ldexp, 3.0), items, least):
            assert not set(came) & set(answers)
            answers |= came
    return answers, log, len(made)


def test_all_is_answered_and_errors_are_answers():
    answers, log, made = run({"a": 1, "b": "no exponent", "c": 3}, {})
    assert {key: answer.value for key, answer in answers.items()} == {"a": 6.0, "b": None, "c": 24.0}
    assert answers["b"].error.startswith("TypeError: ")
    assert (len(log), made) == (3, 1)


def test_a_call_that_lost_its_worker_is_made_again_and_only_it():
    answers, log, made = run({k: k for k in range(12)}, {5: 1})
    assert [answers[k].value for k in range(12)] == [math.ldexp(3.0, k) for k in range(12)]
    assert made == 2
    assert log.count([5]) == 2
    assert log.count([0]) == 1


def test_a_call_that_loses_its_worker_every_time_is_given_up_and_the_others_are_done():
    answers, log, made = run({k: k for k in range(12)}, {5: 99})
    assert answers[5].error.startswith(f"lost its worker {AGAIN + 1} times: BrokenExecutor: died")
    assert log.count([5]) == AGAIN + 1
    assert sorted(answers) == list(range(12))
    assert all(answers[k].error is None for k in range(12) if k != 5)
    assert made == AGAIN + 1


@given(st.dictionaries(st.integers(0, 9), st.integers(1, 6)))
def test_only_the_guilty_are_given_up(fates):
    """Whoever kills its worker less often than AGAIN times is answered in the end, and so is everybody who never does."""
    deaths = dict(fates)
    try:
        answers, _, _ = run({k: k for k in range(10)}, deaths)
    except WorkerError:
        assert sum(n > AGAIN for n in fates.values()) >= 3  # all that was tried at first died for good
        return
    assert sorted(answers) == list(range(10))
    for key, answer in answers.items():
        if fates.get(key, 0) <= AGAIN:
            assert answer.value == math.ldexp(3.0, key) or fates.get(key, 0) > 1
        if key not in fates:
            assert answer.error is None


def test_workers_that_always_die_are_not_fed_for_ever():
    with pytest.raises(WorkerError, match="answer nothing"):
        run({k: k for k in range(1000)}, dict.fromkeys(range(1000), 99))


def test_cancelled_is_lost_and_an_odd_error_is_told_in_the_end():
    class Odd(Executor):
        workers = 1

        def submit(self, fn, /, *args):
            future = Future()
            future.set_exception(CancelledError() if args[1] == [1] else OSError("no route to host"))
            return future

    with Crew(Odd) as crew:
        (came,) = crew.run(abs, {"x": 2})
    assert came["x"].error == "lost its worker 4 times: OSError: no route to host"
    with Crew(Odd) as crew:
        (came,) = crew.run(abs, {"x": 1})
    assert "CancelledError" in came["x"].error


def test_an_executor_that_has_lost_all_its_workers_is_not_waited_for_for_ever(monkeypatch):
    class Deserted(Executor):
        workers = 0

        def submit(self, fn, /, *args):
            return Future()

    monkeypatch.setattr("minillm.crew.PATIENCE", 0.01)
    with pytest.raises(WorkerError, match="no worker is left"), Crew(Deserted) as crew:
        list(crew.run(abs, {"x": 2}))


def test_short_calls_are_sent_several_at_a_time(monkeypatch):
    """With a clock that gains 1/64 s a reading, calls take so long, and ten of them are a task of 10/64 s."""
    now = iter(range(10**6))
    monkeypatch.setattr("minillm.crew.time.perf_counter", lambda: next(now) / 64)
    _, log, _ = run({k: k for k in range(64)}, {}, least=10 / 64)
    assert max(map(len, log)) == 10
    assert len(log) < 20
    assert [k for chunk in log for k in chunk] == list(range(64))
    monkeypatch.setattr("minillm.crew.time.perf_counter", lambda: 0.0)
    _, log, _ = run({k: k for k in range(64)}, {}, least=0.1)
    assert len(log) <= 4


def test_a_map_is_the_loop_and_raises_what_failed():
    with Crew(functools.partial(executor, "serial")) as crew:
        assert crew.map(abs, [-3, 2, -1]) == [3, 2, 1]
        assert crew.map(abs, []) == []
        with pytest.raises(WorkerError, match="part 1 of 2 failed: TypeError"):
            crew.map(abs, [1, "x"])


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_map_survives_a_worker_that_is_killed(helpers, tmp_path):
    import jobs_for_workers as jobs

    with Crew(functools.partial(executor, "process:2")) as crew:
        found = crew.map(jobs.third_once_deadly, [(x, str(tmp_path / "died") if x == 3 else "") for x in range(6)])
        assert found == [jobs.third(x) for x in range(6)]
        assert (tmp_path / "died").exists()
        assert crew.map(jobs.third, [1]) == [jobs.third(1)]  # the new pool goes on
