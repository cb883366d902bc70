"""Calls on workers that may die: what is lost is called again, at most three times, and only what is missing.

A pool of processes breaks as a whole when one of them dies, so every call that was under way is lost with it, and any of them may
be the cause. A call that has been lost twice is therefore made while no other is under way: whoever dies then is known.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from types import TracebackType
from typing import Any

import numpy as np

from minillm.errors import WorkerError
from minillm.executors import abandon, number_of_workers

AGAIN = 3  # times that a lost call is made again
SUSPECT = 2  # losses after which a call is made alone
PATIENCE = 60  # seconds that an executor may be without any worker
HOPELESS = 3  # calls given up, with none ever answered, after which no more are tried


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a call returned, or the error that it raised, and how long it took on its worker."""

    value: Any
    error: str | None
    seconds: float


def answer_all(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Answer]:
    """Call ``function`` with each item; an error is an answer like any other. This is what a worker runs."""
    answers = []
    for item in items:
        start = time.perf_counter()
        try:
            value, error = function(item), None
        except Exception as raised:
            value, error = None, _line(raised)
        answers.append(Answer(value, error, time.perf_counter() - start))
    return answers


class Crew:
    """The workers of an executor, which is made anew when it breaks.

    Parameters
    ----------
    make : callable, → Executor
        Called again whenever the executor has broken; for example ``functools.partial(executor, "process:2")``.

    Notes
    -----
    A context manager. An error inside it, Ctrl-C too, ends what is under way; else it is waited for.
    """

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make, self._executor = make, make()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._executor.shutdown()
        else:
            abandon(self._executor)

    def renew(self) -> None:
        """Take a new executor in place of the broken one."""
        abandon(self._executor)
        self._executor = self._make()

    @property
    def executor(self) -> Executor:
        """The executor at present."""
        return self._executor

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return ``[function(item) for item in items]``, computed by the workers, to each of which as many items go, in one task.

        ``np.errstate`` acts as in the plain loop.

        Raises
        ------
        WorkerError
            If one of the calls fails.
        """
        answers: dict[int, Answer] = {}
        work = functools.partial(_in_state, np.geterr(), function)
        for came in self.run(work, dict(enumerate(items)), size=math.ceil(len(items) / number_of_workers(self._executor))):
            answers |= came
            for index, answer in came.items():
                if answer.error is not None:
                    raise WorkerError(f"part {index} of {len(items)} failed: {answer.error}")
        return [answers[index].value for index in range(len(items))]

    def run(self, function: Callable[[Any], Any], items: Mapping[Any, Any], least: float = 0.0, size: int = 1) -> Iterator[dict[Any, Answer]]:
        """Yield the answers to ``function(items[key])``, by key, as they come: those of a task together.

        Parameters
        ----------
        function : callable
            Of a module's top level, or a partial of one: it is pickled.
        items : mapping
        least : float
            Seconds that a task should take at least: short calls are sent several at a time, by how long they have taken so far.
        size : int
            Calls that a task has at least.

        Raises
        ------
        WorkerError
            If the workers die whatever they are given.
        """
        return _Work(self, function, items, least, size).answers()


class _Work:
    """The calls of one :meth:`Crew.run`: those that wait, in order, and those that are under way."""

    def __init__(self, crew: Crew, function: Callable[[Any], Any], items: Mapping[Any, Any], least: float, size: int) -> None:
        self.crew, self.function, self.items, self.least, self.size = crew, function, items, least, size
        self.waiting = collections.deque(items)
        self.under_way: dict[Future, list[Any]] = {}
        self.lost: collections.Counter[Any] = collections.Counter()
        self.answered, self.seconds, self.given_up, self.broken = 0, 0.0, 0, False

    def answers(self) -> Iterator[dict[Any, Answer]]:
        """Hand out and take in until all is answered."""
        while self.waiting or self.under_way:
            handed_out = self._hand_out()
            patience = 0 if handed_out else PATIENCE  # what has come already is taken before more is handed out
            done, _ = wait(self.under_way, patience, FIRST_COMPLETED)
            if not (done or handed_out) and getattr(self.crew.executor, "workers", 1) == 0:
                raise WorkerError(f"no worker is left, and for {PATIENCE} s none has come")
            for future in done:
                came = self._take(future, self.under_way.pop(future))
                if came:
                    yield came

    def _hand_out(self) -> bool:
        if self.broken and not self.under_way:
            self.crew.renew()
            self.broken = False
        keys = [] if self.broken else self._next()
        if keys:
            try:
                future = self.crew.executor.submit(answer_all, self.function, [self.items[key] for key in keys])
            except Exception as error:  # it broke since
                future = Future()
                future.set_exception(BrokenExecutor(_line(error)))
            self.under_way[future] = keys
        return bool(keys)

    def _next(self) -> list[Any]:
        """Take the keys of the next task off the queue: none when enough is under way."""
        if not self.waiting or len(self.under_way) >= self._room():
            return []
        size = 1 if self.lost[self.waiting[0]] else self._size()
        keys: list[Any] = []
        while self.waiting and len(keys) < size and (not keys or not self.lost[self.waiting[0]]):
            keys.append(self.waiting.popleft())
        return keys

    def _room(self) -> int:
        """How many tasks may be under way: two for each worker, so that none waits for us; one for a suspect."""
        suspected = self.lost[self.waiting[0]] >= SUSPECT
        return 1 if suspected else 2 * number_of_workers(self.crew.executor)

    def _size(self) -> int:
        mean = self.seconds / self.answered if self.answered else math.inf
        return max(self.size, math.ceil(self.least / mean)) if mean > 0 else len(self.waiting)

    def _take(self, future: Future, keys: list[Any]) -> dict[Any, Answer]:
        try:
            answers = future.result()
        except Exception as error:
            self.broken |= isinstance(error, (BrokenExecutor, CancelledError))
            return self._lose(keys, _line(error))
        self.answered += len(answers)
        self.seconds += sum(answer.seconds for answer in answers)
        return dict(zip(keys, answers, strict=True))

    def _lose(self, keys: list[Any], error: str) -> dict[Any, Answer]:
        """Put lost keys back: the first time before all others, then behind them, and in the end give them up."""
        self.lost.update(keys)
        given_up = [key for key in keys if self.lost[key] > AGAIN]
        self.waiting.extendleft(key for key in reversed(keys) if self.lost[key] < SUSPECT)
        self.waiting.extend(key for key in keys if SUSPECT <= self.lost[key] <= AGAIN)
        self.given_up += len(given_up)
        if self.given_up >= HOPELESS and not self.answered:
            raise WorkerError(f"the workers answer nothing, whatever they are given: {error}")
        return {key: Answer(None, f"lost its worker {self.lost[key]} times: {error}", 0.0) for key in given_up}


def _in_state(state: Any, function: Callable[[Any], Any], item: Any) -> Any:
    with np.errstate(**state):
        return function(item)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
