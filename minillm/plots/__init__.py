"""Pictures, with matplotlib (extra ``plot``): each function takes arrays and writes one PNG."""

from minillm.plots.curves import learning_curve, learning_curves, loss_curve
from minillm.plots.heads import attention

__all__ = ["attention", "learning_curve", "learning_curves", "loss_curve"]
