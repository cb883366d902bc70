"""The shape of a Llama, under the names of Hugging Face's ``LlamaConfig``."""

from __future__ import annotations

import dataclasses
import math
import numbers

from minillm.errors import UserError, require_integer

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    r"""Sizes and constants of a Llama style transformer (SmolLM2 is one).

    Parameters
    ----------
    vocab_size : int
        V, the number of token ids.
    hidden_size : int
        C, the width of the residual stream.
    intermediate_size : int
        M, the width inside the MLP.
    num_hidden_layers, num_attention_heads : int
        Number of blocks, and of heads H of queries in each.
    num_key_value_heads : int, optional
        K, a divisor of H: the heads of keys and values; H when None.
    head_dim : int, optional
        D, even; C / H when None.
    max_position_embeddings : int
        The longest context, in tokens.
    rms_norm_eps : float
        $\epsilon \ge 0$ of every normalisation.
    rope_theta : float
        The base $\vartheta$ of the rotary embedding; see :mod:`minillm.ops.rotary`.
    tie_word_embeddings : bool
        Whether the head that gives the logits is the token embedding itself.
    initializer_range : float
        Standard deviation of the initial weights.

    Raises
    ------
    UserError
        If a value is out of range; the message names it.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int" or (field.type == "int | None" and value is not None):
                require_integer(field.name, value, 1)
            elif field.type == "bool" and not isinstance(value, bool):
                raise UserError(f"{field.name} must be True or False, got {value!r}")
            elif field.type == "float" and not (_is_number(value) and 0 <= float(value) < math.inf):
                raise UserError(f"{field.name} must be finite and at least 0, got {value!r}")
        if self.rope_theta == 0:
            raise UserError("rope_theta must be above 0, got 0")
        if self.num_attention_heads % self.heads[1]:
            raise UserError(f"num_attention_heads must be a multiple of num_key_value_heads, got {self.heads[0]} and {self.heads[1]}")
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            sizes = f"{self.hidden_size} and {self.num_attention_heads}"
            raise UserError(f"hidden_size must be a multiple of num_attention_heads, got {sizes}")
        if self.heads[2] % 2:
            raise UserError(f"the width of a head must be even, got {self.heads[2]}")

    @property
    def heads(self) -> tuple[int, int, int]:
        """H heads of queries, K heads of keys and values, and the width D of a head."""
        H = self.num_attention_heads
        return H, self.num_key_value_heads or H, self.head_dim or self.hidden_size // H

    @property
    def n_positions(self) -> int:
        """The longest context: ``max_position_embeddings``."""
        return self.max_position_embeddings

    @property
    def value_head(self) -> bool:
        """There is none."""
        return False

    @property
    def key_value_shape(self) -> tuple[int, int, int]:
        """Layers, heads and width of a head of what a key/value cache holds."""
        return self.num_hidden_layers, *self.heads[1:]

    @property
    def head(self) -> str:
        """Name of the parameter that gives the logits."""
        return EMBEDDING if self.tie_word_embeddings else HEAD

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each parameter, in the order of ``LlamaForCausalLM``; weights are stored (out, in), as there.

        So the weights of query, key and value lie one after the other, and are *one* matrix for one product; gate and up, too.
        """
        C, M, (H, K, D) = self.hidden_size, self.intermediate_size, self.heads
        shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (self.vocab_size, C)}
        block = {
            "self_attn.q_proj": (H * D, C), "self_attn.k_proj": (K * D, C), "self_attn.v_proj": (K * D, C), "self_attn.o_proj": (C, H * D),
            "mlp.gate_proj": (M, C), "mlp.up_proj": (M, C), "mlp.down_proj": (C, M),
            "input_layernorm": (C,), "post_attention_layernorm": (C,),
        }  # fmt: skip
        for layer in range(self.num_hidden_layers):
            shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
        shapes["model.norm.weight"] = (C,)
        if not self.tie_word_embeddings:
            shapes[HEAD] = (self.vocab_size, C)
        return shapes


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
