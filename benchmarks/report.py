"""Printing: a table that grows line by line, or one JSON object."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable

from benchmarks import machine
from benchmarks.rounds import Row

HEAD = f"{'':24}{'peer':26}{'ours':>12}{'theirs':>12} {'':8}{'ratio':>10}{'aim':>8}{'rounds':>8}"


def show(options: argparse.Namespace, name: str, title: str, rows: Iterable[Row], **extra: object) -> None:
    """Print the lines as they come, with what they were measured on; with ``--json`` one object at the end.

    ``×`` stands before theirs ÷ ours (times as fast), ``÷`` before ours ÷ theirs (a multiple), both medians over the rounds.
    """
    about = machine.facts(options.threads)
    if options.json:
        lines = [{**dataclasses.asdict(row), "verdict": row.verdict} for row in rows]
        print(json.dumps({"benchmark": name, "title": title, **about, "rows": lines, **extra}), flush=True)
        return
    print(f"{name}: {title}\n{describe(about)}\n{HEAD}", flush=True)
    for row in rows:
        print(line(row), flush=True)
    for key, value in extra.items():
        print(f"{key}: {value}")
    print(flush=True)


def describe(about: dict) -> str:
    """Return the facts of the machine as two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{about['threads']} thread(s) on {about['processor']}; {about['system']}; BLAS {about['BLAS']}\n{versions}"


def line(row: Row) -> str:
    """Return a line of the table."""
    begin = f"{row.case:24}{row.peer:26}"
    if row.missing is not None:
        return f"{begin}missing: {row.missing}"
    if row.theirs is None:
        return f"{begin}{number(row.ours)}{'':12} {row.unit}"
    aim = "" if row.aim is None else f"{'≤' if row.multiple else '≥'} {row.aim:g}"
    sign = "÷" if row.multiple else "×"
    text = f"{begin}{number(row.ours)}{number(row.theirs)} {row.unit:8}{sign} {number(row.ratio, 8)}{aim:>8}{row.rounds:8}"
    return f"{text}  {row.verdict}".rstrip()


def number(value: float | None, width: int = 12) -> str:
    """Return a number with about four digits."""
    if value is None:
        return " " * width
    return f"{value:{width},.{0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 4}f}"
