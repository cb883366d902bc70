"""`minillm chat`: talk to a pretrained model in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from minillm.commands.arguments import count, seed


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("chat", help="talk to a pretrained model in the terminal")
    parser.add_argument("model", metavar="DIR_OR_GGUF", help="a GGUF file (extra gguf), or config.json, model.safetensors, tokenizer.json")
    parser.add_argument("--prompt", default=None, metavar="TEXT", help="what you say first (default: lines are read from stdin at once)")
    parser.add_argument("--system", default=None, metavar="TEXT", help="what the model is told before (default: its template's sentence)")
    parser.add_argument("--max-new-tokens", type=count, default=256, help="longest answer (256)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the most probable token (0)")
    parser.add_argument("--top-k", type=count, default=None, help="draw among the k most probable tokens")
    parser.add_argument("--top-p", type=float, default=None, help="draw among the most probable ones that together reach p")
    parser.add_argument("--seed", type=seed, default=0, help="of the draws (0)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Answer the prompt, then each line of stdin until it ends, as the answers are written."""
    from minillm.chat import Conversation, load
    from minillm.decoding import Sampling

    sampling = Sampling(options.temperature, options.top_k, options.top_p)
    model, tokenizer, system = load(options.model)
    conversation = Conversation(
        model, tokenizer, sampling, system=system if options.system is None else options.system, rng=options.seed
    )
    try:
        for text in said(options.prompt):
            conversation.answer(text, options.max_new_tokens, lambda piece: print(piece, end="", flush=True))
            print(flush=True)
    except KeyboardInterrupt:
        print()
        raise
    return 0


def said(prompt: str | None) -> Iterator[str]:
    """Yield what the user says: the prompt, then the lines of stdin that are not blank. A terminal is asked with ``> ``."""
    if prompt is not None:
        yield prompt
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    asks = sys.stdin.isatty()
    while True:
        if asks:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.rstrip("\n")
