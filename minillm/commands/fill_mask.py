"""`minillm fill-mask`: what a BERT would write in place of [MASK]."""

from __future__ import annotations

import argparse
from typing import Any

from minillm.commands.arguments import count


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("fill-mask", help="what a BERT would write in place of [MASK]")
    parser.add_argument("model", metavar="DIR", help="config.json, model.safetensors, vocab.txt; or a name in the local cache")
    parser.add_argument("text", help="a text with [MASK] in it")
    parser.add_argument("--top-k", type=count, default=5)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the most probable pieces with their probabilities, a blank line between one [MASK] and the next."""
    from minillm.bert_tasks import fill_mask, load_bert

    model, tokenizer = load_bert(options.model)
    rows = fill_mask(model, tokenizer, options.text, options.top_k)
    print("\n\n".join("\n".join(f"{p:8.4f}  {piece}" for piece, p in row) for row in rows))
    return 0
