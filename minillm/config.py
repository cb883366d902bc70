"""The shape of a GPT, under the names of Hugging Face's ``GPT2Config``."""

from __future__ import annotations

import dataclasses
import math
import numbers

from minillm.errors import UserError, require_integer

ACTIVATIONS = ("gelu_new", "gelu", "relu", "silu")


@dataclasses.dataclass(frozen=True)
class GPTConfig:
    r"""Sizes and constants of a GPT-2 style transformer.

    Parameters
    ----------
    vocab_size : int
        V, the number of token ids.
    n_positions : int
        The longest context, in tokens.
    n_embd : int
        C, the width of the residual stream; a multiple of ``n_head``.
    n_layer, n_head : int
        Number of blocks, and of attention heads in each; a head has width D = C / n_head.
    n_inner : int, optional
        Width inside the MLP; 4·C when None.
    activation_function : str
        ``"gelu_new"`` (with tanh), ``"gelu"`` (with erf), ``"relu"`` or ``"silu"``.
    layer_norm_epsilon : float
        $\epsilon \ge 0$ of every layer normalisation.
    scale_attn_weights : bool
        Whether attention scores are divided by √D.
    scale_attn_by_inverse_layer_idx : bool
        Whether those of layer i (from 0) are divided by i + 1 as well.
    tie_word_embeddings : bool
        Whether the head that gives the logits is the token embedding itself.
    initializer_range : float
        Standard deviation of the initial weights; GPT-2 has 0.02, narrow models learn faster from more.
    value_head : bool
        Whether there is a linear map from the last hidden state to a value V, ``v_head.summary``, as in TRL.
    resid_pdrop, embd_pdrop, attn_pdrop : float in [0, 1)
        Dropout of what attention and MLP add to the residual stream, of the embeddings, and of the attention weights. It acts
        only in a forward pass that is given ``rng``. 0 here; ``GPT2Config`` has 0.1.

    Raises
    ------
    UserError
        If a value is out of range; the message names it.
    """

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02
    value_head: bool = False
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            require_integer(name, getattr(self, name), 1)
        if self.n_inner is not None:
            require_integer("n_inner", self.n_inner, 1)
        if self.n_embd % self.n_head:
            raise UserError(f"n_embd must be a multiple of n_head, got {self.n_embd} and {self.n_head}")
        if self.activation_function not in ACTIVATIONS:
            raise UserError(
                f"activation_function must be one of {', '.join(ACTIVATIONS)}, got {self.activation_function!r}"
            )
        for name in ("layer_norm_epsilon", "initializer_range"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
                raise UserError(f"{name} must be finite and at least 0, got {value!r}")
        for name in ("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < 1:
                raise UserError(f"{name} must be at least 0 and below 1, got {value!r}")

    @property
    def inner(self) -> int:
        """Width inside the MLP: ``n_inner``, or 4·C."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def key_value_shape(self) -> tuple[int, int, int]:
        """Layers, heads and width of a head of what a key/value cache holds."""
        return self.n_layer, self.n_head, self.n_embd // self.n_head

    def query_factor(self, layer: int) -> float:
        """What a layer's queries are multiplied by before attention, which itself divides the scores by √D."""
        scale = 1.0 if self.scale_attn_weights else math.sqrt(self.n_embd // self.n_head)
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each parameter, in the order of GPT-2's checkpoint."""
        C, M = self.n_embd, self.inner
        shapes: dict[str, tuple[int, ...]] = {"wte.weight": (self.vocab_size, C), "wpe.weight": (self.n_positions, C)}
        for layer in range(self.n_layer):
            block = {
                "ln_1.weight": (C,), "ln_1.bias": (C,),
                "attn.c_attn.weight": (C, 3 * C), "attn.c_attn.bias": (3 * C,),
                "attn.c_proj.weight": (C, C), "attn.c_proj.bias": (C,),
                "ln_2.weight": (C,), "ln_2.bias": (C,),
                "mlp.c_fc.weight": (C, M), "mlp.c_fc.bias": (M,),
                "mlp.c_proj.weight": (M, C), "mlp.c_proj.bias": (C,),
            }  # fmt: skip
            shapes |= {f"h.{layer}.{name}": shape for name, shape in block.items()}
        shapes |= {"ln_f.weight": (C,), "ln_f.bias": (C,)}
        if not self.tie_word_embeddings:
            shapes["lm_head.weight"] = (self.vocab_size, C)
        if self.value_head:
            shapes |= {"v_head.summary.weight": (1, C), "v_head.summary.bias": (1,)}
        return shapes
