"""What a run on text depends on, and the presets."""

from __future__ import annotations

import dataclasses
from typing import Any

from minillm.config import GPTConfig
from minillm.errors import ON_NONFINITE, require_choice, require_integer, require_number


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """What a run depends on, beside its texts. The defaults, the preset ``tiny``, are nanoGPT's setting for a CPU, with
    three times its rate (which takes the validation loss of our megabyte from 1.83 to 1.68).

    Parameters
    ----------
    seed : int
    n_layer, n_head, n_embd, n_positions : int
        The transformer's size; ``n_positions`` is the context, which nanoGPT names block_size.
    resid_pdrop, embd_pdrop, attn_pdrop : float
        Dropout; see :class:`minillm.config.GPTConfig`.
    initializer_range : float
    steps, batch_size, gradient_accumulation_steps : int
        Updates; sequences differentiated at a time; how many such batches make one update.
    lr, min_lr, warmup_steps
        Linear warm-up to ``lr``, then a cosine down to ``min_lr`` at the last step.
    beta_1, beta_2, weight_decay : float
        AdamW; only matrices decay.
    max_norm : float
        The gradient is clipped to this norm.
    validation : float
        The last share of each text, kept from training.
    eval_every, eval_batches : int
        Every so many steps the loss of so many validation batches is measured, evenly spread, always the same ones.
    sample_length : int
        Characters written after each evaluation.
    on_nonfinite : str
        What follows when a loss or a gradient is not finite: ``"stop"``, or ``"skip"`` that update and count it.
    """

    seed: int = 0
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    n_positions: int = 64
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0
    initializer_range: float = 0.02
    steps: int = 2000
    batch_size: int = 12
    gradient_accumulation_steps: int = 1
    lr: float = 3e-3
    min_lr: float = 3e-4
    warmup_steps: int = 100
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.1
    max_norm: float = 1.0
    validation: float = 0.1
    eval_every: int = 250
    eval_batches: int = 20
    sample_length: int = 200
    on_nonfinite: str = "stop"

    def __post_init__(self) -> None:
        least = {"seed": 0, "warmup_steps": 0, "sample_length": 0}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                require_integer(field.name, value, least.get(field.name, 1))
            elif field.type == "float":
                require_number(field.name, value)
        require_choice("on_nonfinite", self.on_nonfinite, ON_NONFINITE)

    def shape(self, vocab_size: int) -> GPTConfig:
        """Return the shape of the model for a vocabulary."""
        names = {field.name for field in dataclasses.fields(GPTConfig)}
        return GPTConfig(vocab_size, **{name: value for name, value in dataclasses.asdict(self).items() if name in names})


PRESETS: dict[str, dict[str, Any]] = {
    "micro": {"n_layer": 1, "n_embd": 16, "n_positions": 16, "batch_size": 16, "lr": 1e-2, "min_lr": 1e-3},
    "tiny": {},
    "small": {
        "n_layer": 6, "n_head": 6, "n_embd": 384, "n_positions": 256, "batch_size": 8, "steps": 5000, "lr": 1e-3, "min_lr": 1e-4,
        "resid_pdrop": 0.2, "embd_pdrop": 0.2, "attn_pdrop": 0.2,
    },
}  # fmt: skip
