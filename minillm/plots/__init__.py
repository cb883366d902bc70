"""Pictures, with matplotlib (extra ``plot``): each function takes arrays and writes one PNG."""

from minillm.plots.curves import learning_curve, learning_curves, loss_curve
from minillm.plots.grids import policy, visits
from minillm.plots.heads import attention
from minillm.plots.research import bias_and_variance, distributions, kill_table, landscape, step_sizes

__all__ = [
    "attention", "bias_and_variance", "distributions", "kill_table", "landscape", "learning_curve", "learning_curves", "loss_curve",
    "policy", "step_sizes", "visits",
]  # fmt: skip
