"""Keyed jobs on an executor: journalled, resumable, the same table from any engine.

A job is a pure function of a JSON-able configuration, with a JSON-able result. The worker writes the result as JSON text; that text
goes into the journal, and what is returned is read from there: numbers are the same to the last bit wherever they were
computed, whether now or in a session before this one.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from minillm.crew import Answer, Crew
from minillm.errors import RunDirectoryError
from minillm.ledger import Ledger
from minillm.progress import Progress

LEAST = 0.1  # seconds of work that a task should have


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What jobs came to, in the order of the jobs: the results of those that are done, the errors of those that failed."""

    results: dict[str, Any]
    errors: dict[str, str]


def run_jobs(
    function: Callable[[Any], Any],
    jobs: Mapping[str, Any],
    journal: Path,
    make: Callable[[], Executor],
    *,
    name: str = "jobs",
    quiet: bool = False,
) -> Outcome:
    """Do the jobs whose results the journal does not hold yet.

    Parameters
    ----------
    function : callable, configuration → result
        Of a module's top level, so that it can be sent to another process.
    jobs : mapping of key to configuration
    journal : Path
        One line for each result, with its key and configuration, and one for each error.
    make : callable, → Executor
        Called only if there is something to do, and again whenever the executor breaks.
    name : str
        What progress calls them.
    quiet : bool
        No progress on stderr.

    Returns
    -------
    Outcome
        A job that raises, or that loses its worker four times, is among the ``errors``; the others are done all the same, and
        it is tried again the next time.

    Raises
    ------
    RunDirectoryError
        If the journal is damaged, cannot be written, or has another configuration under one of the keys.
    """
    with Ledger(journal) as book:
        texts = {key: text for key, text in _done(book, jobs).items() if key in jobs}
        missing = {key: config for key, config in jobs.items() if key not in texts}
        errors: dict[str, str] = {}
        if missing:
            with Crew(make) as crew, Progress(name, len(missing), "run", quiet) as progress:
                for came in crew.run(functools.partial(as_json, function), missing, LEAST):
                    book.add(_entry(key, missing[key], answer) for key, answer in came.items())
                    texts |= {key: answer.value for key, answer in came.items() if answer.error is None}
                    errors |= {key: answer.error for key, answer in came.items() if answer.error is not None}
                    for _ in came:
                        progress.update(**{"failed": len(errors)} if errors else {})
    return Outcome(
        {key: json.loads(texts[key]) for key in jobs if key in texts}, {key: errors[key] for key in jobs if key in errors}
    )


def as_json(function: Callable[[Any], Any], config: Any) -> str:
    """Return the result as JSON text."""
    return json.dumps(function(config))


def _entry(key: str, config: Any, answer: Answer) -> dict[str, Any]:
    told = {"result": json.loads(answer.value)} if answer.error is None else {"error": answer.error}
    return {"key": key, "config": config, "seconds": round(answer.seconds, 6)} | told


def _done(book: Ledger, jobs: Mapping[str, Any]) -> dict[str, str]:
    """The results in a journal, as JSON text, by key."""
    done = {}
    for number, entry in enumerate(book.entries, start=1):
        key, config = entry.get("key"), entry.get("config")
        if not isinstance(key, str):
            raise RunDirectoryError(f"{book.path}, line {number}, is not of a study: it has no key")
        if key in jobs and config != jobs[key]:
            raise RunDirectoryError(f"{book.path}, line {number}: {_difference(config, jobs[key])}, under {key!r}")
        if "result" in entry:
            done[key] = json.dumps(entry["result"])
    return done


def _difference(saved: Any, given: Any) -> str:
    """What differs between two configurations, in words."""
    if isinstance(saved, dict) and isinstance(given, dict):
        for name in [*given, *saved]:
            if saved.get(name) != given.get(name):
                return f"{name} is {saved.get(name)!r} there, which {given.get(name)!r} contradicts"
    return f"the configuration is {saved!r:.80} there, which {given!r:.80} contradicts"
