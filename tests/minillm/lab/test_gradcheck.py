"""check_gradient on a stranger's functions: right, wrong, with kinks, and without complex numbers."""

import numpy as np
import pytest

from minillm.lab import check_gradient
from minillm.lab.mutants import CATALOGUE, transformer

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
MLP = {"W1": rng.normal(size=(3, 4)), "b1": rng.normal(size=4), "W2": rng.normal(size=(4, 2))}


def mlp_loss(p):
    return ((np.tanh(X @ p["W1"] + p["b1"]) @ p["W2"] - Y) ** 2).sum() / Y.size


def mlp_gradient(p):
    h = np.tanh(X @ p["W1"] + p["b1"])
    dy = 2 * (h @ p["W2"] - Y) / Y.size
    dh = (dy @ p["W2"].T) * (1 - h * h)
    return {"W1": X.T @ dh, "b1": dh.sum(0), "W2": h.T @ dy}


def wrong(name, change):
    def gradient(p):
        g = mlp_gradient(p)
        return g | {name: change(g[name], p[name])}

    return gradient


@pytest.mark.parametrize("mode", ["direction", "full"])
def test_a_right_gradient_passes(mode):
    report = check_gradient(mlp_loss, mlp_gradient, MLP, mode=mode)
    assert report
    assert report.error < 1e-14
    assert report.method == "complex step"
    assert report.array is None
    assert report.hints == ()
    assert str(report).startswith("gradient right")


@pytest.mark.parametrize("mode", ["direction", "full"])
@pytest.mark.parametrize(
    ("name", "change", "ratio", "hint"),
    [
        ("b1", lambda g, x: g / 5, 0.2, "a mean over 5"),
        ("W1", lambda g, x: 2 * g, 2, "counted twice"),
        ("W2", lambda g, x: -g, -1, "sign is flipped"),
        ("W1", lambda g, x: 0 * g, 0, "dropped"),
        ("W1", lambda g, x: np.sqrt(3) * g, np.sqrt(3), "√3"),
        ("W2", lambda g, x: g + 0.1 * x, None, "weight decay"),
        ("W2", lambda g, x: g + 0.1, None, "same in every entry"),
        ("W2", lambda g, x: g + np.arange(4.0)[:, None], None, "constant along the last axis"),
        ("W2", lambda g, x: g.astype(np.float32), None, "float32"),
        ("W1", lambda g, x: g * np.array([[1.0], [1], [3]]), None, "only 1 of 3 rows are wrong (2)"),
        ("b1", lambda g, x: g * np.nan, None, "not finite"),
    ],
)
def test_a_wrong_gradient_is_located_and_explained(mode, name, change, ratio, hint):
    report = check_gradient(mlp_loss, wrong(name, change), MLP, mode=mode)
    assert not report
    assert report.array == name
    assert any(hint in text for text in report.hints), report
    if ratio is not None:
        assert report.ratio == pytest.approx(ratio)
        assert report.value == pytest.approx(ratio * report.expected)
    assert f"worst: {name}" in str(report)


def test_one_wrong_entry_among_many_is_found():
    def gradient(x):
        g = np.cos(x)
        g[1, 2] += 1e-9
        return g

    report = check_gradient(lambda x: np.sin(x).sum(), gradient, rng.normal(size=(20, 30)))
    assert not report
    assert (report.array, report.index) == ("x", (1, 2))


def test_a_gradient_may_be_given_as_arrays():
    assert check_gradient(mlp_loss, mlp_gradient(MLP), MLP)


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x: np.abs(x).sum() + x.sum(), "not holomorphic"),
        (lambda x: np.abs(x).sum(), "drops the imaginary part"),
        (lambda x: float((x + 1.0 * np.sign(x) * x).astype(np.float64).sum() - x.real.sum()), "does not take complex"),
    ],
)
def test_functions_without_complex_numbers_are_differenced(f, reason):
    x = np.array([0.7, 1.3, 2.1])
    slope = f(x + 0.25) - f(x - 0.25)
    gradient = np.full(3, np.round(slope / 1.5))
    report = check_gradient(f, gradient, x)
    assert report, report
    assert report.method == "Richardson differences"
    assert any(reason in text for text in report.warnings), report
    assert not check_gradient(f, 1.001 * gradient, x)


def test_a_kink_is_named():
    x = np.array([0.0, 1.0, -2.0])
    assert any("kink" in text for text in check_gradient(lambda z: np.abs(z).sum(), np.sign(x), x).warnings)
    x[0] = 0.3
    assert not any("kink" in text for text in check_gradient(lambda z: np.abs(z).sum(), np.sign(x), x).warnings)


def test_blind_spots_are_named():
    arrays = {
        "gain": np.ones(4),
        "bias": np.zeros(4),
        "one": np.ones((1, 1)),
        "square": rng.normal(size=(3, 3)),
        "half": np.float32([1, 2]),
    }
    blind = {"ids": np.arange(1)[None], "mask": np.ones((2, 3)), "targets": np.ones((2, 3), int)}
    blind |= {"upstream": np.ones((2, 3)), "n_head": 1, "n_layer": 1}
    gradient = {name: 2 * a for name, a in arrays.items()}
    report = check_gradient(lambda p: sum((a**2).sum() for a in p.values()), gradient, arrays, inputs=blind)
    assert report, report
    text = str(report)
    for part in (
        "gain is all 1",
        "bias is all 0",
        "one has one entry",
        "square is square",
        "half is float32",
        "batch of 1",
        "T = 1",
        "no repeated tokens",
        "no padding in mask",
        "no padding in targets",
        "upstream gradient is constant",
        "one head",
        "one layer",
    ):
        assert part in text
    seeing = {"ids": np.array([[1, 2], [1, 3]]), "mask": np.array([1, 0]), "targets": np.array([-100, 1])}
    seeing |= {"upstream": np.arange(3.0), "n_head": 2, "n_layer": 2}
    assert check_gradient(mlp_loss, mlp_gradient, MLP, inputs=seeing).warnings == ()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="mode must be one of direction, full, got 'some'"):
        check_gradient(mlp_loss, mlp_gradient, MLP, mode="some")
    with pytest.raises(ValueError, match="the gradient has no array 'W2'"):
        check_gradient(mlp_loss, {"W1": MLP["W1"], "b1": MLP["b1"]}, MLP)
    with pytest.raises(ValueError, match=r"gradient of 'b1' has shape \(1, 4\), expected \(4,\)"):
        check_gradient(mlp_loss, wrong("b1", lambda g, x: g[None]), MLP)


@pytest.mark.parametrize(
    ("f", "x", "gradient"),
    [
        (lambda x: 0.2 * x[0] + 0.3 * x[0], np.array([1.0, 7.0]), [0.5, 0.0]),
        (lambda x: x[0] * x[1] * x[2], np.array([0.0, 2.0, 3.0]), [6.0, 0.0, 0.0]),
        (lambda x: -np.log(1 + np.exp(-x[0])), np.zeros(1), [0.5]),
        (lambda x: ((x - np.array([1.0, 2.0])) ** 2).sum(), np.array([1.0, 2.0]), [0.0, 0.0]),
        (lambda x: x[0] / np.sqrt((x**2).sum() / 4 + 1e-4), np.array([1.0, 0, 0, 0]), [1e-4 / 0.2501**1.5, 0, 0, 0]),
    ],
    ids=["gather", "product at zero", "log-sigmoid at zero", "zero loss", "RMSNorm"],
)
def test_values_that_went_wrong_in_public(f, x, gradient):
    report = check_gradient(f, np.array(gradient), x, tolerance=1e-6, mode="full")
    assert report, report


def test_an_empty_array_has_a_right_gradient():
    assert check_gradient(lambda x: x.sum(), np.zeros((0, 2)), np.zeros((0, 2)), mode="full")


@pytest.mark.parametrize(
    ("id", "array", "hint"),
    [
        ("whole-positions-mean", "wpe.weight", "a mean over 3 where a sum is meant"),
        ("whole-positions-none", "wpe.weight", "the term is dropped"),
        ("whole-twice", None, "counted twice"),
        ("whole-one-entry", "h.0.mlp.c_proj.weight", "rounding through float32"),
        ("whole-float16", None, "rounding through float16"),
        ("embedding-pad-zeroed", "wte.weight", "rows are wrong (0)"),
    ],
)
def test_the_model_s_arrays_are_named(id, array, hint):
    mutant = next(m for m in CATALOGUE if m.id == id)
    problem = mutant.problem
    layout = transformer.CASE.layout

    def flat(p):
        return np.concatenate([a.ravel() for a in p.values()])

    report = check_gradient(lambda p: problem.f(flat(p)), layout(mutant.gradient(problem.theta)), layout(problem.theta))
    assert not report
    assert array in (None, report.array)
    assert any(hint in text for text in report.hints), report
