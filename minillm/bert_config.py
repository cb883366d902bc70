"""The shape of a BERT, under the names of Hugging Face's ``BertConfig``."""

from __future__ import annotations

import dataclasses
import math
import numbers

from minillm.config import ACTIVATIONS
from minillm.errors import UserError, require_integer

DECODER = "cls.predictions.decoder.weight"


@dataclasses.dataclass(frozen=True)
class BERTConfig:
    r"""Sizes and constants of a BERT encoder.

    Parameters
    ----------
    vocab_size : int
        V, the number of token ids.
    hidden_size : int
        C, the width; a multiple of ``num_attention_heads``.
    num_hidden_layers, num_attention_heads : int
        Number of layers, and of attention heads in each.
    intermediate_size : int
        Width inside the MLP.
    max_position_embeddings : int
        The longest text, in tokens.
    type_vocab_size : int
        Number of token types (first and second text of a pair).
    hidden_act : str
        The activation, in the MLP and in the head; see :class:`minillm.GPTConfig`.
    layer_norm_eps : float
    tie_word_embeddings : bool
        Whether the head that gives the logits is the token embedding itself.
    masked_lm : bool
        Whether there is a masked-language-model head at all; without it a model gives hidden states only.
    initializer_range : float
        Standard deviation of the initial weights.

    Raises
    ------
    UserError
        If a value is out of range; the message names it.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    tie_word_embeddings: bool = True
    masked_lm: bool = True
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                require_integer(field.name, value, 1)
            elif field.type == "bool" and not isinstance(value, bool):
                raise UserError(f"{field.name} must be True or False, got {value!r}")
            elif field.type == "float" and (not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf):
                raise UserError(f"{field.name} must be finite and at least 0, got {value!r}")
        if self.hidden_size % self.num_attention_heads:
            sizes = f"{self.hidden_size} and {self.num_attention_heads}"
            raise UserError(f"hidden_size must be a multiple of num_attention_heads, got {sizes}")
        if self.hidden_act not in ACTIVATIONS:
            raise UserError(f"hidden_act must be one of {', '.join(ACTIVATIONS)}, got {self.hidden_act!r}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each parameter: ``BertModel``'s, then the head's. Weights are stored (out, in), as there."""
        C, M, V = self.hidden_size, self.intermediate_size, self.vocab_size
        tables = {"word": V, "position": self.max_position_embeddings, "token_type": self.type_vocab_size}
        shapes: dict[str, tuple[int, ...]] = {f"embeddings.{name}_embeddings.weight": (rows, C) for name, rows in tables.items()}
        shapes |= _norm("embeddings.LayerNorm", C)
        for layer in range(self.num_hidden_layers):
            at = f"encoder.layer.{layer}."
            for name in ("self.query", "self.key", "self.value", "output.dense"):
                shapes |= _dense(f"{at}attention.{name}", C, C)
            shapes |= _norm(at + "attention.output.LayerNorm", C)
            shapes |= _dense(at + "intermediate.dense", M, C) | _dense(at + "output.dense", C, M) | _norm(at + "output.LayerNorm", C)
        if self.masked_lm:
            shapes |= _dense("cls.predictions.transform.dense", C, C) | _norm("cls.predictions.transform.LayerNorm", C)
            shapes |= {"cls.predictions.bias": (V,)} | ({} if self.tie_word_embeddings else {DECODER: (V, C)})
        return shapes


def _dense(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {name + ".weight": (outputs, inputs), name + ".bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {name + ".weight": (width,), name + ".bias": (width,)}
