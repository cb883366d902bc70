r"""The operations of the transformer, one a file: derivation, forward and backward side by side.

Each is a pair of pure functions: ``y, cache = op(x, …)`` and ``dx, … = op_backward(dy, cache)``. The first axis of a
two-dimensional ``x`` runs over all tokens of a batch (N = B·T rows). Everything runs unchanged in float32, float64,
longdouble and complex128, and is holomorphic, so that $\operatorname{Im} f(\theta + ihv)/h$ is a derivative without a step
size to choose. A transpose is a plain transpose: nothing here conjugates.
"""

from minillm.ops.attention import attention, attention_backward
from minillm.ops.dropout import dropout, dropout_backward
from minillm.ops.embedding import embedding, embedding_backward
from minillm.ops.gelu import gelu_new, gelu_new_backward
from minillm.ops.gelu_erf import gelu, gelu_backward
from minillm.ops.grouped_attention import grouped_attention, grouped_attention_backward
from minillm.ops.layernorm import layernorm, layernorm_again, layernorm_backward
from minillm.ops.linear import linear, linear_backward
from minillm.ops.log_softmax import log_softmax, log_softmax_backward
from minillm.ops.relu import relu, relu_backward
from minillm.ops.rmsnorm import rmsnorm, rmsnorm_backward
from minillm.ops.rotary import rotary, rotary_backward
from minillm.ops.silu import silu, silu_backward
from minillm.ops.swiglu import swiglu, swiglu_backward

__all__ = [
    "attention", "attention_backward", "dropout", "dropout_backward", "embedding", "embedding_backward", "gelu", "gelu_backward",
    "gelu_new", "gelu_new_backward", "grouped_attention", "grouped_attention_backward", "layernorm", "layernorm_again",
    "layernorm_backward", "linear", "linear_backward", "log_softmax", "log_softmax_backward", "relu", "relu_backward", "rmsnorm",
    "rmsnorm_backward", "rotary", "rotary_backward", "silu", "silu_backward", "swiglu", "swiglu_backward",
]  # fmt: skip
