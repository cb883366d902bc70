"""The main job in each family of environments, by its command: exact J, its share of the optimum, and the time."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import envs
from benchmarks import machine
from benchmarks.report import describe

SEEDS = (0, 1)
PROMISE = 0.95
COLUMNS = ("command", "exact J", "J*", "share", "seconds", "CPU seconds")
FAMILIES = {
    "grid/empty": ("grid/empty-5",),
    "grid/frozenlake": ("grid/frozenlake", "grid/frozenlake-8", "grid/frozenlake-random-4"),
    "grid/cliff": ("grid/cliff",),
    "grid/keydoor": ("grid/keydoor",),
    "text/bandit": ("text/bandit-3-3",),
    "text/copy …": ("text/copy", "text/reverse", "text/sort", "text/dedup"),
    "text/arith …": ("text/arith", "text/countdown"),
    "code/rpn": ("code/rpn",),
    "code/robot": ("code/robot",),
    "translate/lexicon": ("translate/lexicon",),
    "generate/grammar": ("generate/grammar",),
    "dialogue/slots": ("dialogue/slots", "dialogue/slots-observed"),
    "adventure/rooms": ("adventure/rooms",),
}


def share(J: float, optimum: float) -> float:
    """Return J / J*, or J* / J where both are costs: 1 at the optimum, less below it."""
    return J / optimum if optimum > 0 else optimum / J


def train(id: str, seed: int) -> dict:
    """Run the command as a user does, and return a row of the table."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = ["train", id, "--seed", str(seed), "--out", f"{directory}/run"]
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "minillm", *arguments], check=True, capture_output=True)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        exact = json.loads(Path(directory, "run", "summary.json").read_text())["exact"]
    return {
        "command": f"minillm train {id} --seed {seed}", "exact J": exact["improve"], "J*": exact["optimal"],
        "share": share(exact["improve"], exact["optimal"]), "seconds": seconds,
        "CPU seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }  # fmt: skip


def line(row: dict) -> str:
    """Return a row as text."""
    mark = "ok" if row["share"] >= PROMISE else "below"
    return (
        f"{row['command']:46}{row['exact J']:>10.4f}{row['J*']:>10.4f}{row['share']:>9.2%}{row['seconds']:>9.0f}"
        f"{row['CPU seconds']:>13.0f}  {mark}"
    )


def main(options: argparse.Namespace) -> None:
    """Run every command with every seed and print the table; a family is reached if all of its rows are."""
    assert {id for ids in FAMILIES.values() for id in ids} == set(envs.ids())
    rows: dict[str, list[dict]] = {}
    about = machine.facts(options.threads)
    if not options.json:
        print(f"{describe(about)}\n{'':46}{'exact J':>10}{'J*':>10}{'share':>9}{'seconds':>9}{'CPU seconds':>13}", flush=True)
    for family, ids in FAMILIES.items():
        rows[family] = []
        for id in ids:
            for seed in SEEDS:
                rows[family].append(train(id, seed))
                if not options.json:
                    print(line(rows[family][-1]), flush=True)
    if options.json:
        print(json.dumps({"benchmark": "families", **about, "rows": rows}))
        return
    reached = [family for family, of in rows.items() if min(row["share"] for row in of) >= PROMISE]
    print(f"{len(reached)} of {len(rows)} families reach {PROMISE:.0%} of J* with every seed in every command")
