"""The command ``minillm``: reads arguments, calls the library, prints. Exit status 2 and one line on stderr for a user's error."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from minillm import __version__
from minillm.commands import (
    chat,
    check,
    coefficients,
    docs,
    envs,
    estimators,
    evaluate,
    explain,
    fill_mask,
    fit,
    inspect,
    oracle,
    play,
    plot,
    sample,
    similar,
    study,
    train,
    tutorial,
)  # fmt: skip
from minillm.errors import UserError

COMMANDS = (
    train,
    study,
    play,
    evaluate,
    plot,
    coefficients,
    fit,
    sample,
    inspect,
    envs,
    check,
    estimators,
    oracle,
    fill_mask,
    similar,
    explain,
    chat,
    tutorial,
    docs,
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message as one line on stderr and exit with status 2."""
        print(f"{self.prog}: {message} (try {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt as interrupt:
        print(f"minillm: interrupted{interrupt}", file=sys.stderr)
        return 130
    except MemoryError as error:
        return _fail(f"not enough memory: {error}")
    except BrokenPipeError:  # the reader of our output has gone, as in `minillm play RUN | head`
        sys.stdout = None
        return 0


def _fail(message: str) -> int:
    print(f"minillm: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _parser() -> Parser:
    parser = Parser(prog="minillm", description="An LLM agent in pure NumPy: collect, fit, act, improve.")
    parser.add_argument("--version", action="version", version=f"minillm {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser
