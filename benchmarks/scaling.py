"""Runs and updates against workers: overhead per job, updates a second, bytes moved, and what a hundred hosts would make of it.

Use ``--threads 2``: as many workers are measured, each on one core. What is said of a hundred hosts is computed from these
measurements, and labelled so; nothing here has run on a hundred hosts.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import pickle
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.report import describe
from minillm.crew import Crew
from minillm.executors import executor
from minillm.jobs import LEAST
from minillm.optimizers import AdamW
from minillm.rollouts import play
from minillm.run import Run
from minillm.study import train_once
from minillm.threads import parallel_map, recycle_memory, single_threaded_blas
from minillm.train_config import TrainConfig
from minillm.training import improve

JOBS, RUNS, UPDATES = 500, 12, 3
HOSTS, CORES = 100, 2  # of the extrapolation: hosts like this one
LINKS = {"1 Gbit/s": 125e6, "10 Gbit/s": 1.25e9}  # bytes a second at the host that hands out; assumed, not measured
SMALL = TrainConfig(
    env="text/bandit-2-2", n_embd=16, n_head=2, collect_episodes=64, fit_steps=40, fit_batch_size=16, improve_steps=20, improve_episodes=32
)  # fmt: skip
MAIN = TrainConfig()  # the main job
PARTS = (MAIN.shards, 8)  # of its episodes: what two cores play, and what eight workers could


def nothing(x: int) -> int:
    """Return x: a job without work."""
    return x


def overhead(where: str) -> dict[str, Any]:
    """Return the seconds until the workers are there, and those of a job without work: alone, among all at once, in tasks of 0.1 s."""
    start = time.perf_counter()
    with Crew(functools.partial(executor, where)) as crew:
        crew.map(nothing, range(4))
        marks = [time.perf_counter()]
        for x in range(JOBS // 10):
            crew.executor.submit(nothing, x).result()
        marks.append(time.perf_counter())
        for future in [crew.executor.submit(nothing, x) for x in range(JOBS)]:
            future.result()
        marks.append(time.perf_counter())
        for _ in crew.run(nothing, dict.fromkeys(range(JOBS), 0), LEAST):
            pass
        marks.append(time.perf_counter())
    alone, at_once, chunked = np.diff(marks) / (JOBS // 10, JOBS, JOBS)
    return {"where": where, "start": marks[0] - start, "latency": float(alone), "job": float(at_once), "chunked": float(chunked)}


def studies(workers: int) -> dict[str, Any]:
    """Return how many small runs a second so many workers finish."""
    jobs = {seed: dataclasses.asdict(dataclasses.replace(SMALL, seed=seed)) for seed in range(RUNS)}
    with Crew(functools.partial(executor, f"process:{workers}")) as crew:
        crew.map(train_once, list(jobs.values())[:workers])  # imports and tables
        start = time.perf_counter()
        answers = [answer for came in crew.run(train_once, jobs) for answer in came.values()]
        return {
            "workers": workers, "runs_per_second": RUNS / (time.perf_counter() - start),
            "seconds_of_a_run": statistics.median(answer.seconds for answer in answers),
        }  # fmt: skip


class Updates:
    """Updates of the main job from the same state, wherever they are computed."""

    def __init__(self, parts: int) -> None:
        config = dataclasses.replace(MAIN, shards=parts)
        self.run = Run(config, Path("nowhere"), quiet=True)  # which writes nothing before it is executed
        self.theta = self.run.model.parameters.vector.copy()

    def play(self, map: Callable[..., list]) -> Any:
        """Play the episodes of one update."""
        return play(MAIN.env, {}, self.run.agents, MAIN.improve_episodes, MAIN.group, np.random.default_rng(0), map)

    def compute(self, map: Callable[..., list]) -> tuple[list[float], bytes]:
        """Return the seconds of each update but the first, and the parameters after the last."""
        model, seconds = self.run.model, []
        model.parameters.vector[:] = self.theta
        for k, agent in enumerate(self.run.agents):
            agent.rng.bit_generator.state = np.random.default_rng(k).bit_generator.state
        optimizer = AdamW(model.parameters, MAIN.improve_lr)
        for step in range(UPDATES + 1):
            start = time.perf_counter()
            with single_threaded_blas():
                improve(model, self.run.tokenizer, self.play(map), optimizer, step=step, estimator=MAIN.method, map=map)
            seconds.append(time.perf_counter() - start)
        return seconds[1:], model.parameters.vector.tobytes()


class Notes:
    """A map that notes, call by call, the seconds of its parts and the bytes that would go out and come back."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Compute in a loop, and note."""
        results, seconds = [], []
        for item in items:
            start = time.perf_counter()
            results.append(function(item))
            seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        call = {"seconds": seconds, "parts": len(items), "out": len(pickle.dumps((function, items))), "back": len(pickle.dumps(results))}
        self.calls.append(call | {"noting": time.perf_counter() - start})
        return results


def one_update() -> tuple[dict[str, Any], dict[str, Any], float]:
    """Return the notes of playing and of differentiating, and the seconds that remain in the process that hands out."""
    updates, notes = Updates(PARTS[-1]), Notes()
    seconds, _ = updates.compute(notes)
    playing, differentiating = notes.calls[-2:]
    return playing, differentiating, seconds[-1] - sum(sum(call["seconds"]) + call["noting"] for call in (playing, differentiating))


@functools.cache
def part_of(workers: int) -> float:
    """Return the median seconds in which one core plays the part of one among so many workers."""
    config = dataclasses.replace(MAIN, shards=min(workers, MAIN.improve_episodes))
    run, seconds = Run(config, Path("nowhere"), quiet=True), []
    for _ in range(3):
        notes = Notes()
        with single_threaded_blas():
            play(config.env, {}, run.agents[:1], max(1, MAIN.improve_episodes // workers), 1, np.random.default_rng(0), notes)
        seconds += notes.calls[0]["seconds"]
    return statistics.median(seconds)


def prediction(workers: int, playing: dict, differentiating: dict, rest: float, job: dict, link: float) -> dict[str, Any]:
    """Return what an update would take on so many workers, and of what: computed, not measured."""
    pieces = len(differentiating["seconds"])
    rounds = math.ceil(pieces / workers)
    theta = Updates(1).theta.nbytes
    moved = sum(theta * (min(workers, call["parts"]) - 1) + call["out"] + call["back"] for call in (playing, differentiating))
    parts = {
        "playing": part_of(workers), "gradient": rounds * statistics.mean(differentiating["seconds"]), "one process": rest,
        "handing out": 2 * (job["latency"] + job["job"] * workers), "network": moved / link if workers > 1 else 0.0,
    }  # fmt: skip
    return {"workers": workers, "seconds": sum(parts.values()), "parts": parts}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all measurements."""
    counts = sorted({1, options.threads})
    places = [f"process:{n}" for n in counts]
    jobs = [overhead(where) for where in ("serial", *places)]
    playing, differentiating, rest = one_update()
    return {
        "jobs": jobs + dask_jobs(options.threads), "studies": [studies(n) for n in counts],
        "updates": [row for parts in PARTS for row in updates(parts, places)],
        "playing": playing, "differentiating": differentiating, "rest": rest,
    }  # fmt: skip


def dask_jobs(workers: int) -> list[dict[str, Any]]:
    """Return the overhead on a dask scheduler with so many workers of this machine; nothing where the extra is missing."""
    try:
        from distributed import LocalCluster
    except ImportError:
        return []
    with LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        return [overhead(cluster.scheduler_address) | {"where": f"dask:{workers}"}]


def updates(parts: int, places: list[str]) -> list[dict[str, Any]]:
    """Return how long an update in so many parts takes in threads and on workers, and whether the bits are those of the threads."""
    of = Updates(parts)
    seconds, bits = of.compute(parallel_map)
    rows = [{"where": "threads", "parts": parts, "seconds": statistics.median(seconds), "same_bits": True}]
    for where in places:
        with Crew(functools.partial(executor, where)) as crew:
            seconds, found = of.compute(crew.map)
        rows.append({"where": where, "parts": parts, "seconds": statistics.median(seconds), "same_bits": found == bits})
    return rows


def extrapolate(found: dict[str, Any]) -> dict[str, Any]:
    """Return what a hundred hosts would give, computed from the measurements."""
    last = found["jobs"][-1]  # dask, where it is there: only it reaches other hosts
    job = last["job"]
    rows = {
        link: [prediction(n, found["playing"], found["differentiating"], found["rest"], last, rate) for n in (1, 2, 10, HOSTS * CORES)]
        for link, rate in LINKS.items()
    }
    run = found["studies"][0]["seconds_of_a_run"]
    return {"job": job, "updates": rows, "workers_that_one_process_feeds": run / job, "run": run}


def main(options: argparse.Namespace) -> None:
    """Print what was measured, then what follows from it."""
    recycle_memory()  # as the commands and their workers do
    found = measure(options)
    computed = extrapolate(found)
    if options.json:
        print(json.dumps({"benchmark": "scaling", **machine.facts(options.threads), "measured": found, "computed": computed}))
        return
    print(f"scaling: executors, studies and parallel updates\n{describe(machine.facts(options.threads))}\n")
    print(text(found, computed))


def text(found: dict[str, Any], computed: dict[str, Any]) -> str:
    """Return the report."""
    lines = ["measured: µs of a job without work: alone, among all at once, and in tasks of at least 0.1 s"]
    for row in found["jobs"]:
        spent = "".join(f"{row[name] * 1e6:12.1f}" for name in ("latency", "job", "chunked"))
        lines.append(f"  {row['where']:12}{spent}   workers there after {row['start']:.2f} s")
    lines.append(f"measured: {RUNS} small runs ({SMALL.env}, {SMALL.improve_steps} updates)")
    for row in found["studies"]:
        lines.append(f"  process:{row['workers']}   {row['runs_per_second']:.2f} runs a second; one takes {row['seconds_of_a_run']:.2f} s")
    lines.append(f"measured: updates of the main job ({MAIN.env}, {MAIN.improve_episodes} episodes)")
    for row in found["updates"]:
        same = "the same bits" if row["same_bits"] else "OTHER BITS"
        lines.append(f"  {row['where']:12}{row['parts']} parts {1 / row['seconds']:8.2f} updates a second, {same}")
    lines.append("measured: one update on one core, and the bytes that parts move (θ goes once to each worker)")
    for name in ("playing", "differentiating"):
        call = found[name]
        lines.append(f"  {name:16}{sum(call['seconds']):8.3f} s in {call['parts']} parts; out {call['out']:,} bytes, back {call['back']:,}")
    lines.append(f"  {'one process':16}{found['rest']:8.3f} s")
    return "\n".join([*lines, "", *_hundred(computed)])


def _hundred(computed: dict[str, Any]) -> list[str]:
    """The lines of the extrapolation."""
    workers = HOSTS * CORES
    fed = computed["workers_that_one_process_feeds"]
    lines = [
        f"computed from the measurements above, for {HOSTS} hosts of {CORES} cores ({workers} workers); not measured",
        f"  a study: {computed['job'] * 1e6:.0f} µs a job to hand out feeds {fed:,.0f} workers with runs of {computed['run']:.2f} s; "
        f"{workers} workers finish {min(workers, fed) / computed['run']:,.0f} such runs a second",
    ]
    for link, rows in computed["updates"].items():
        lines.append(f"  one run, {link} at the process that hands out:")
        for row in rows:
            worst = max(row["parts"], key=row["parts"].get)
            shares = ", ".join(f"{name} {seconds:.3f}" for name, seconds in row["parts"].items())
            lines.append(
                f"    {row['workers']:4} workers {1 / row['seconds']:8.2f} updates a second ({rows[0]['seconds'] / row['seconds']:.1f}×), "
                f"most of it {worst}: {shares} s"
            )
    return lines
