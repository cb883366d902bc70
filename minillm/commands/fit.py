"""`minillm fit`: train a language model on text."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from minillm.commands.arguments import count, seed
from minillm.errors import ON_NONFINITE, RunDirectoryError, UserError
from minillm.fit_config import PRESETS, FitConfig


def add(commands: Any) -> None:
    """Declare the arguments: one for each number of the configuration."""
    parser = commands.add_parser("fit", help="train a language model on text")
    parser.add_argument("texts", nargs="*", type=Path, metavar="TEXT", help="UTF-8 files (default: Shakespeare's sonnets)")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="run directory (a new one below runs/)")
    parser.add_argument("--overwrite", action="store_true", help="delete the run that DIR holds")
    parser.add_argument("--resume", type=Path, default=None, metavar="DIR", help="go on with a run from its last checkpoint")
    parser.add_argument("--tensorboard", action="store_true", help="write the metrics for TensorBoard, too")
    parser.add_argument("--preset", choices=list(PRESETS), default=None, help="sizes to start from (tiny)")
    parser.add_argument("--dropout", type=float, default=None, help="--resid-pdrop, --embd-pdrop and --attn-pdrop at once")
    for field in dataclasses.fields(FitConfig):
        whole = seed if field.name in ("seed", "warmup_steps", "sample_length") else count
        kind = {"int": whole, "float": float, "str": str}[str(field.type)]
        choices = ON_NONFINITE if field.name == "on_nonfinite" else None
        parser.add_argument("--" + field.name.replace("_", "-"), type=kind, default=None, choices=choices)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Train, print the table and where the run lies."""
    from minillm import checkpoint, report
    from minillm.corpus import SONNETS
    from minillm.metrics import Board
    from minillm.text_run import TextRun, read_corpus, resume_text_run
    from minillm.threads import recycle_memory

    recycle_memory()
    given, board = _given(options), Board() if options.tensorboard else None
    if options.resume is not None:
        if options.out is not None or options.overwrite:
            raise RunDirectoryError("--resume DIR goes on in DIR; leave --out and --overwrite out")
        out = options.resume
        fitting = resume_text_run(out, options.texts, given)
    else:
        config = FitConfig(**given)
        name = (options.texts[0] if options.texts else SONNETS).stem
        out = options.out or checkpoint.fresh_directory(Path("runs") / f"{name}-{options.preset or 'tiny'}-seed{config.seed}")
        corpus, texts = read_corpus(options.texts, config), [path.resolve() for path in options.texts]
        fitting = TextRun(config, corpus, out, texts=texts)  # first, so that a mistake leaves no directory behind
        checkpoint.prepare_directory(out, options.overwrite, fitting.settings())
    fitting.board = board
    summary = fitting.execute()
    picture = report.drawn("losses", out / "loss.png", lambda: report.loss_picture(out, summary))
    print(report.fit_table(summary))
    print(picture)
    print(f"run: {out}   (minillm sample {out}, minillm inspect {out})")
    return 0


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The numbers that were asked for, by preset or by name."""
    named = {field.name: getattr(options, field.name) for field in dataclasses.fields(FitConfig)}
    given = {name: value for name, value in named.items() if value is not None}
    if options.dropout is not None:
        both = {"resid_pdrop", "embd_pdrop", "attn_pdrop"} & set(given)
        if both:
            raise UserError(f"--dropout sets {both.pop()} too; give one of them")
        given |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), options.dropout)
    return (PRESETS[options.preset] if options.preset else {}) | given
