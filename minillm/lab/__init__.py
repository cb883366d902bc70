"""Instruments for gradient research: usable on a stranger's NumPy functions as well as on ours.

Nothing outside of this package and the command line imports it.
"""

from minillm.lab.gradcheck import GradientReport, check_gradient
from minillm.lab.opcheck import adjoint_error, check_operation

__all__ = ["GradientReport", "adjoint_error", "check_gradient", "check_operation"]
