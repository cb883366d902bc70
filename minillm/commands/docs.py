"""`minillm docs`: the documentation as HTML that works offline."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("docs", help="write the documentation as HTML that works offline (extra docs)")
    parser.add_argument("directory", type=Path, metavar="DIR", help="a directory that is new or empty")
    parser.add_argument("--overwrite", action="store_true", help="write into a directory that holds something; nothing is deleted")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Write the pages and print where to begin."""
    from minillm import website

    pages = website.build(options.directory, options.overwrite)
    print(f"{pages} pages; begin with {options.directory / 'index.html'}")
    return 0
