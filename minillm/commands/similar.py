"""`minillm similar`: which of some texts are near another in meaning, by the sentence embeddings of a BERT."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("similar", help="which texts are near another in meaning, by a BERT's sentence embeddings")
    parser.add_argument("model", metavar="DIR", help="config.json, model.safetensors, vocab.txt; or a name in the local cache")
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument("others", metavar="OTHER", nargs="+", help="texts to compare with")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the other texts with the cosines of their angles to the first, the nearest first."""
    from minillm.bert_tasks import load_bert, sentence_embeddings

    first, *rest = sentence_embeddings(*load_bert(options.model), [options.text, *options.others])
    for cosine, text in sorted(((float(first @ e), text) for e, text in zip(rest, options.others, strict=True)), reverse=True):
        print(f"{cosine:8.4f}  {text}")
    return 0
