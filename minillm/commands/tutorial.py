"""`minillm tutorial`: the method in five short scripts, cell by cell."""

from __future__ import annotations

import argparse
import importlib.resources
from typing import Any

from minillm.errors import UserError


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("tutorial", help="the method in five short scripts, from one neuron's gradient to the agent")
    parser.add_argument("number", nargs="?", type=int, metavar="N", help="run lesson N, cell by cell (none: list the lessons)")
    parser.add_argument("--code", action="store_true", help="print the script of lesson N instead of running it")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """List the lessons, or run or print one of them."""
    from minillm.lessons import cells
    from minillm.threads import single_threaded_blas

    scripts = sorted(importlib.resources.files("minillm.tutorial").iterdir(), key=lambda file: file.name)
    scripts = [script for script in scripts if script.name.startswith("lesson_")]
    if options.number is None:
        for number, script in enumerate(scripts, start=1):
            print(f"{number}  {cells.title(script.read_text(encoding='utf-8')):44}  minillm/tutorial/{script.name}")
        print("\nminillm tutorial N runs lesson N and shows its text, its code and what it prints; --code prints the script.")
        return 0
    if not 1 <= options.number <= len(scripts):
        raise UserError(f"there are lessons 1 to {len(scripts)}, got {options.number}")
    script = scripts[options.number - 1]
    source = script.read_text(encoding="utf-8")
    if options.code:
        print(source, end="")
        return 0
    with single_threaded_blas():
        for kind, part in cells.run(source, script.name):
            print(cells.as_text(kind, part), flush=True, end="\n\n")
    return 0
