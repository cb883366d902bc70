"""`minillm sample`: text from a model that `minillm fit` trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minillm.commands.arguments import count, seed


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = commands.add_parser("sample", help="write text with a model that minillm fit trained")
    parser.add_argument("run", type=Path, metavar="DIR", help="a directory that minillm fit made")
    parser.add_argument("--prompt", default=None, help="the text goes on from here (default: the start of a line)")
    parser.add_argument("--length", type=count, default=500, help="characters to write (500)")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 takes the most probable character")
    parser.add_argument("--top-k", type=int, default=None, help="draw among the k most probable characters")
    parser.add_argument("--top-p", type=float, default=None, help="draw among the most probable ones that together reach p")
    parser.add_argument("--seed", type=seed, default=0)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the prompt and what follows it, each character as it comes."""
    from minillm.continuation import continue_text, prompt_ids
    from minillm.decoding import Sampling
    from minillm.text_run import first_prompt, load_text_model
    from minillm.threads import single_threaded_blas

    sampling = Sampling(options.temperature, options.top_k, options.top_p)
    model, tokenizer = load_text_model(options.run)
    prompt = first_prompt(tokenizer.characters) if options.prompt is None else options.prompt
    prompt_ids(tokenizer, prompt, model.config.n_positions)  # a prompt that cannot be read is told before anything is printed
    print(options.prompt or "", end="", flush=True)

    def show(text: str) -> None:
        print(text, end="", flush=True)

    with single_threaded_blas():
        continue_text(model, tokenizer, prompt, options.length, sampling, rng=options.seed, on_text=show)
    print()
    return 0
