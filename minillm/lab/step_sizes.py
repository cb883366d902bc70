r"""The error of a derivative against its step $h$: differences beside the complex step, on the case that gradients are judged on.

A central difference errs by $c\,h^2$ where $h$ is large and by $\epsilon|f|/h$ where it is small; the best it can do lies where the two
meet, near $\epsilon^{1/3}$, with about $\epsilon^{2/3}$. The complex step subtracts nothing: its error falls as $h^2$ and then stays
at rounding, for every smaller $h$.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.lab.differentiate import central_difference, complex_step
from minillm.lab.standard import random_case

STEPS = 10.0 ** np.arange(-20.0, 0.1, 0.25)


def step_errors(seed: int = 0) -> dict[str, np.ndarray]:
    r"""Return relative errors (n,) of $\nabla f\cdot v$ for the steps ``STEPS`` (n,), by method.

    The yardstick is the complex step in longdouble, of the transformer's loss along a random direction.
    """
    case = random_case(seed)
    v = np.random.default_rng(seed + 1).normal(size=case.theta.size)
    f, theta = case.loss, case.theta
    exact = complex_step(f, theta.astype(np.longdouble), v.astype(np.longdouble), 1e-30)
    methods: dict[str, Callable[[float], Any]] = {
        "forward difference": lambda h: np.subtract(f(theta + h * v), f(theta)) / h,
        "central difference": lambda h: central_difference(f, theta, v, h),
        "five-point difference": lambda h: central_difference(f, theta, v, h, order=4),
        "complex step": lambda h: complex_step(f, theta, v, h),
    }
    with np.errstate(all="ignore"):  # a step of 1 may leave the domain in which complex numbers stay finite
        return {name: np.array([abs(float((slope(h) - exact) / exact)) for h in STEPS]) for name, slope in methods.items()}
