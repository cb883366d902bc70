"""Instruments for gradient research: usable on a stranger's NumPy functions as well as on ours.

    differentiate  complex step, differences, Hessian–vector products, Fisher matrix
    gradcheck      check_gradient: right or wrong; which array, which index, what the ratio suggests
    opcheck        check_operation: the adjoint test, and what a backward owes its caller
    exact          J and ∇J of a language model in an environment with a table
    beds           worlds whose episodes can all be written down; setting: a bed with a policy at θ
    moments        mean and covariance of an estimator by enumeration; statistics: what its noise is worth
    labels         what the label of an estimator claims, against the objectives of exact_objectives
    estimators     the table of all policy-gradient estimators: ``minillm estimators``
    bias           the same for the coefficients of objectives and training
    mutants        a catalogue of wrong gradients; score(checker) tells which it kills
    oracle         test cases as data, for any other framework
    gates          what gradients must hold, measured: ``minillm check``

Nothing outside of this package, the lessons and the command line imports it.
"""

from minillm.lab.gradcheck import GradientReport, check_gradient
from minillm.lab.opcheck import adjoint_error, check_operation

__all__ = ["GradientReport", "adjoint_error", "check_gradient", "check_operation"]
