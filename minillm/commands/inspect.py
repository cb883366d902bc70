"""`minillm inspect`: look into a model that `minillm fit` trained."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import Any

from minillm.commands.arguments import count

SHOWN = 32  # characters of the default prompt


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("inspect", help="parameters, memory, loss by position and attention of a model that minillm fit trained")
    parser.add_argument("run", type=Path, metavar="DIR", help="a directory that minillm fit made")
    parser.add_argument("--prompt", default=None, help="what to look at (default: the first validation characters)")
    parser.add_argument("--top", type=count, default=5, help="how many next characters to list (5)")
    parser.add_argument("--plot", type=Path, default=None, metavar="FILE", help="draw the attention of the prompt as a PNG (extra plot)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the tables, and draw the picture if asked to."""
    from minillm import inspection, plots
    from minillm.continuation import prompt_ids
    from minillm.corpus import blocks
    from minillm.text_run import load_text_model, resume_text_run

    model, tokenizer = load_text_model(options.run)
    training = resume_text_run(options.run, [], {})
    T = model.config.n_positions
    prompt = tokenizer.decode(training.corpus.validation[: min(T, SHOWN)]) if options.prompt is None else options.prompt
    ids = prompt_ids(tokenizer, prompt, T)
    if options.plot is not None:
        plots.attention(options.plot, inspection.attention_weights(model, ids), inspection.labels(tokenizer, ids))
    print(inspection.parameter_table(model.parameters))
    B = training.config.batch_size
    print(f"\nkept for the backward, {B} sequences of {T} tokens, bytes")
    ledger: Counter[str] = Counter()
    for name, size in model.activation_ledger(B, T).items():
        ledger[re.sub(r"^h\.\d+", "h.*", name)] += size  # all blocks together
    for name, size in {**ledger, "all": ledger.total()}.items():
        print(f"{name:16}{size:>14,}")
    print("\nloss by position, whole validation part, nats")
    losses = inspection.loss_by_position(model, *blocks(training.corpus.validation, T))
    for t in sorted({min(2**i, T) - 1 for i in range(T.bit_length() + 1)}):
        print(f"{t:8}{losses[t]:>10.4f}")
    print(f"\nafter {prompt!r}")
    for text, p in inspection.next_characters(model, tokenizer, ids, options.top):
        print(f"{text!r:8}{p:>10.4f}")
    if options.plot is not None:
        print(f"\nattention: {options.plot}")
    return 0
