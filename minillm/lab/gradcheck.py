r"""Is this gradient right? If not: in which array, at which index, and what does the ratio suggest?

    report = check_gradient(loss, loss_gradient, {"W": W, "b": b})
    print(report)

One random direction $v$ tests all entries at once: $\operatorname{Im} f(x+ihv)/h$ must equal $\langle g, v\rangle$ to
rounding. A wrong entry passes only if $v$ is orthogonal to the error, which has probability zero; what can hide is an
error that rounding hides too. When the direction fails, each array is tried alone and then the entries of the worst
one, to say where.

Functions that cannot take complex numbers are differentiated by Richardson's extrapolation instead, with a wider
tolerance.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minillm.lab.blind import blind_spots, kink
from minillm.lab.diagnose import suggest
from minillm.lab.differentiate import complex_step, richardson
from minillm.parameters import Parameters

TOLERANCE = {"complex step": 1e-13, "Richardson differences": 1e-7}
MODES = ("direction", "full")
Arrays = Any  # an ndarray, or a mapping of names to ndarrays


@dataclasses.dataclass(frozen=True)
class GradientReport:
    r"""What :func:`check_gradient` found.

    Attributes
    ----------
    ok : bool
    mode : {"direction", "full"}
    method : {"complex step", "Richardson differences"}
    error, bound : float
        $|\langle g,v\rangle - f'v| / (\|g\|\|v\|)$ for a direction; for full mode the worst block's
        $\max|err|/\max(\max|g_{block}|, 10^{-3}\max|g|)$.
    array, index : str and tuple of int, or None
        Where the worst entry is.
    value, expected, ratio : float or None
        The entry as given, as it should be, and their quotient.
    hints : tuple of str
        What the ratio and the pattern of the error suggest.
    warnings : tuple of str
        Features of the inputs on which a check like this one is blind.
    """

    ok: bool
    mode: str
    method: str
    error: float
    bound: float
    array: str | None = None
    index: tuple[int, ...] | None = None
    value: float | None = None
    expected: float | None = None
    ratio: float | None = None
    hints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = f"gradient {'right' if self.ok else 'WRONG'}: error {self.error:.1e}, bound {self.bound:.0e}"
        lines = [f"{verdict} ({self.mode}, {self.method})"]
        if self.array is not None:
            entry = f"{self.array}{list(self.index or ())}"
            numbers = f"is {self.value:.6g}, should be {self.expected:.6g}, ratio {self.ratio:.6g}"
            lines.append(f"  worst: {entry} {numbers}")
        lines += [f"  hint: {hint}" for hint in self.hints]
        lines += [f"  blind: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def check_gradient(
    f: Callable[[Arrays], Any],
    gradient: Callable[[Arrays], Arrays] | Arrays,
    x: Arrays,
    *,
    mode: str = "direction",
    inputs: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
    rng: Any = 0,
) -> GradientReport:
    r"""Compare a gradient with the derivative of the function it is said to belong to.

    Parameters
    ----------
    f : callable, arrays → real scalar
    gradient : callable, arrays → arrays of the same shapes; or these arrays themselves
    x : ndarray, or mapping of str to ndarray
        Where to check; never written to. float32 is computed in float64.
    mode : {"direction", "full"}
        ``"direction"``: one random direction, one complex run of f. ``"full"``: every entry, one run each.
    inputs : mapping, optional
        Data that f closes over, by name (``ids``, ``mask``, ``upstream``, ``n_head``, …), looked at for blind spots
        only.
    tolerance : float, optional
        Bound of the relative error; 1e-13 by complex step, 1e-7 by differences.
    rng : seed or numpy.random.Generator

    Returns
    -------
    GradientReport
        True in a condition when the gradient is right.

    Raises
    ------
    ValueError
        If ``mode`` is unknown, or the gradient lacks an array or has one of the wrong shape (named).
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    subject = _Subject(f, gradient, x, np.random.default_rng(rng))
    method, derivative = subject.method()
    bound = TOLERANCE[method] if tolerance is None else tolerance
    if mode == "direction":
        error = subject.direction_error(derivative, subject.whole)
        found = subject.locate(derivative) if not error <= bound else {}
    else:
        exact = subject.exact(derivative, subject.whole)
        error, found = subject.worst(exact, subject.whole)
    ok = bool(error <= bound)
    blind = (
        *subject.warnings,
        *blind_spots(subject.arrays, dict(inputs or {})),
        *kink(subject.flat, subject.theta, subject.v),
    )
    return GradientReport(ok, mode, method, float(error), bound, **({} if ok else found), warnings=blind)


class _Subject:
    """A function and its gradient over one flat vector."""

    def __init__(self, f: Callable, gradient: Any, x: Arrays, rng: np.random.Generator) -> None:
        self.named = isinstance(x, Mapping)
        self.f, self.arrays = f, {k: np.asarray(a) for k, a in x.items()} if self.named else {"x": np.asarray(x)}
        shapes = {name: array.shape for name, array in self.arrays.items()}
        self.layout = Parameters(shapes, _joined(self.arrays))
        self.theta, self.whole = self.layout.vector, np.arange(self.layout.vector.size)
        given = gradient(self._unflatten(self.theta.copy())) if callable(gradient) else gradient
        self.g = _joined(_of_shapes(given if self.named else {"x": given}, shapes))
        self.v = rng.normal(size=self.theta.size)
        self.warnings: tuple[str, ...] = ()

    def _unflatten(self, vector: np.ndarray) -> Arrays:
        views = Parameters(self.layout.shapes, np.ascontiguousarray(vector))
        return dict(views) if self.named else views["x"]

    def flat(self, vector: np.ndarray) -> np.ndarray:
        return np.asarray(self.f(self._unflatten(vector)))

    def method(self) -> tuple[str, Callable[[np.ndarray], float]]:
        """Choose the complex step if f is fit for it; otherwise differences, and say why."""

        def by_differences(v: np.ndarray) -> float:
            return float(richardson(self.flat, self.theta, v, h=0.05 / max(1.0, float(np.abs(v).max(initial=0))))[0])

        reason = self._unfit(by_differences)
        if reason:
            self.warnings = (reason,)
            return "Richardson differences", by_differences
        return "complex step", lambda v: float(complex_step(self.flat, self.theta, v))

    def _unfit(self, by_differences: Callable[[np.ndarray], float]) -> str | None:
        """Why f cannot be differentiated by complex step, or None."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                value = self.flat(self.theta + 1j * 1e-20 * self.v)
        except (TypeError, ValueError, np.exceptions.ComplexWarning) as error:
            return f"f does not take complex numbers ({error}); differences see ten digits at best"
        if not np.iscomplexobj(value):
            return "f drops the imaginary part of its argument (abs, real?); differences see ten digits at best"
        steps, slope = by_differences(self.v), float(value.imag / 1e-20)
        if abs(steps - slope) > 1e-4 * (abs(steps) + abs(slope)) and abs(steps - self.g @ self.v) < 1e-6 * abs(steps):
            return "f is not holomorphic (abs, conj, a comparison?); differences see ten digits at best"
        return None

    def exact(self, derivative: Callable[[np.ndarray], float], entries: np.ndarray) -> np.ndarray:
        """Derivatives by the given entries of the flat vector."""
        units = np.zeros(self.theta.size)
        values = []
        for i in entries:
            units[i] = 1
            values.append(derivative(units))
            units[i] = 0
        return np.array(values)

    def direction_error(self, derivative: Callable[[np.ndarray], float], entries: np.ndarray) -> float:
        """Relative error along the random direction, restricted to some entries."""
        v = np.zeros_like(self.v)
        v[entries] = self.v[entries]
        expected, given = derivative(v), self.g @ v
        scale = float(np.linalg.norm(self.g) * np.linalg.norm(v)) or abs(expected) or 1.0
        return abs(float(given - expected)) / scale

    def locate(self, derivative: Callable[[np.ndarray], float]) -> dict[str, Any]:
        """Name the array with the largest error, then its worst entry."""
        spans = {name: self.whole[span] for name, span in self.layout.slices.items()}
        errors = {name: self.direction_error(derivative, entries) * np.linalg.norm(self.v[entries]) for name, entries in spans.items()}
        entries = spans[max(errors, key=lambda name: errors[name])]
        return self.worst(self.exact(derivative, entries), entries)[1]

    def worst(self, exact: np.ndarray, entries: np.ndarray) -> tuple[float, dict[str, Any]]:
        """Error of the worst block among the entries, and where its worst entry is."""
        difference = np.full(self.theta.size, 0.0)
        difference[entries] = self.g[entries] - exact
        top, errors = np.abs(self.g).max(initial=0), {}
        for name, span in self.layout.slices.items():
            scale = max(np.abs(self.g[span] - difference[span]).max(initial=0), 1e-3 * top)
            errors[name] = np.abs(difference[span]).max(initial=0) / (scale or 1.0)
        if not errors or not difference.size:
            return 0.0, {}
        name = max(errors, key=lambda n: np.inf if np.isnan(errors[n]) else errors[n])
        span = self.layout.slices[name]
        i = span.start + int(np.abs(difference[span]).argmax())
        value, expected = float(self.g[i]), float(self.g[i] - difference[i])
        ratio = value / expected if expected else np.inf
        shape = self.layout.shapes[name]
        hints = suggest(self.g[span].reshape(shape), (self.g - difference)[span].reshape(shape), self.theta[span].reshape(shape))
        where = {"array": name, "index": self.layout.name_at(i)[1]}
        return errors[name], {**where, "value": value, "expected": expected, "ratio": ratio, "hints": hints}


def _joined(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    wide = [np.asarray(a).reshape(-1).astype(np.result_type(np.asarray(a).dtype, np.float64)) for a in arrays.values()]
    return np.concatenate(wide) if wide else np.zeros(0)


def _of_shapes(given: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The gradient's arrays in the order of ``shapes``, each with the right shape."""
    for name, shape in shapes.items():
        if name not in given:
            raise ValueError(f"the gradient has no array {name!r}")
        if np.shape(given[name]) != shape:
            raise ValueError(f"the gradient of {name!r} has shape {np.shape(given[name])}, expected {shape}")
    return {name: np.asarray(given[name]) for name in shapes}
