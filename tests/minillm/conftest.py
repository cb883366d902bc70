"""Instruments that the tests of minillm share, as session fixtures (plain functions)."""

from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from minillm.cli import main
from minillm.config import GPTConfig
from minillm.experience import Experience
from minillm.objectives import IGNORE
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT

hypothesis.settings.register_profile("minillm", deadline=None, max_examples=50)
hypothesis.settings.load_profile("minillm")

H = 1e-30  # the complex step; nothing is subtracted, so it may be as small as it likes


def _derivative(f: Callable, x: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.imag(f(x + 1j * H * v)) / H


def _gradient(f: Callable, x: np.ndarray) -> np.ndarray:
    flat = x.reshape(-1)
    unit = np.eye(flat.size)
    return np.array([_derivative(lambda y: f(y.reshape(x.shape)), flat, e) for e in unit]).reshape(x.shape)


def _assert_adjoint(
    op: Callable, backward: Callable, inputs: tuple, rng: np.random.Generator, bound: float = 1e-15
) -> None:
    directions = [rng.normal(size=x.shape) for x in inputs]
    y, cache = op(*inputs)
    u = rng.normal(size=y.shape)
    tangent = np.imag(op(*[x + 1j * H * v for x, v in zip(inputs, directions, strict=True)])[0]) / H
    gradients = backward(u, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert [g.shape for g in gradients] == [x.shape for x in inputs]
    there = (tangent * u).sum()
    back = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))
    assert abs(there - back) <= bound * np.linalg.norm(tangent) * np.linalg.norm(u)


SIZES = {"vocab_size": 7, "n_positions": 6, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_inner": 12}


def _random_model(
    *, tied: bool = True, std: float = 0.4, seed: int = 0, dtype: type = np.float64, **sizes: int
) -> GPT:
    shape = SIZES | sizes
    model = GPT(GPTConfig(**shape, tie_word_embeddings=tied), rng=0)
    theta = np.random.default_rng(seed).normal(0, std, model.parameters.vector.size)
    return GPT.from_vector(model.config, theta.astype(dtype))


def _worst_block(model: GPT, gradient: np.ndarray, reference: np.ndarray) -> float:
    floor = 1e-3 * np.abs(reference).max()
    worst = 0.0
    for span in model.parameters.slices.values():
        error = np.abs(gradient[span] - reference[span]).max()
        worst = max(worst, float(error / max(np.abs(reference[span]).max(), floor)))
    return worst


def _decision_ids(
    tokenizer: CharTokenizer, states: np.ndarray, action_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    M, L = action_ids.shape
    ids = np.full((M, max(len(state) for state in states) + L), tokenizer.eos_token_id)
    at = np.zeros((M, L), dtype=int)
    for k, state in enumerate(states):
        action = [i for i in action_ids[k].tolist() if i != IGNORE]
        row = [*tokenizer.encode(str(state)), tokenizer.eos_token_id, *action[:-1]]
        ids[k, : len(row)] = row
        at[k, : len(action)] = len(state) + np.arange(len(action))
    return ids, at, action_ids


def _random_decisions(seed: int = 0, M: int = 12, L: int = 3) -> tuple[CharTokenizer, Experience, np.ndarray]:
    rng = np.random.default_rng(seed)
    tokenizer = CharTokenizer("abc")
    states = np.array(["a", "abc", "", "bb"])[rng.integers(4, size=M)]
    ids = rng.integers(3, size=(M, L))
    lengths = rng.integers(1, L + 1, size=M)
    ids[np.arange(L) >= lengths[:, None]] = IGNORE
    ids[np.arange(M), lengths - 1] = 3
    ids[M // 2 :], states[M // 2 :] = ids[: M - M // 2], states[: M - M // 2]  # equal decisions
    experience = Experience(
        states=states, actions=states, next_states=states, rewards=rng.normal(size=M), terminated=np.ones(M, bool),
        truncated=np.zeros(M, bool), log_probs=np.zeros((M, L)), action_ids=ids, episodes=np.arange(M), steps=np.zeros(M, int),
    )  # fmt: skip
    return tokenizer, experience, rng.normal(size=M)


@pytest.fixture(scope="session")
def random_decisions() -> Callable:
    """``random_decisions(seed, M, L)``: a tokenizer, M episodes of one step in which decisions repeat, and M coefficients."""
    return _random_decisions


@pytest.fixture(scope="session")
def derivative() -> Callable:
    """``derivative(f, x, v)``: of f at x along v, by complex step."""
    return _derivative


@pytest.fixture(scope="session")
def gradient_of() -> Callable:
    """``gradient_of(f, x)``: of the scalar f, entry by entry, by complex step."""
    return _gradient


@pytest.fixture(scope="session")
def assert_adjoint() -> Callable:
    r"""``assert_adjoint(op, backward, inputs, rng)``: $\langle Jv, u\rangle = \langle v, J^\top u\rangle$."""
    return _assert_adjoint


@pytest.fixture(scope="session")
def random_model() -> Callable:
    """``random_model(tied=…, dtype=…, **sizes)``: a small GPT with random weights, gains and biases."""
    return _random_model


@pytest.fixture(scope="session")
def worst_block() -> Callable:
    """``worst_block(model, gradient, reference)``: the largest relative error over the named arrays."""
    return _worst_block


@pytest.fixture(scope="session")
def decision_ids() -> Callable:
    """``decision_ids(tokenizer, states, action_ids)``: each decision in a row of its own, and at which columns which targets follow."""
    return _decision_ids


@pytest.fixture
def fails(capsys):
    """Return a function that runs a command which must fail as a user's error, and returns its one line."""

    def run(*arguments: object) -> str:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:
            status = error.code
        captured = capsys.readouterr()
        assert status == 2
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return captured.err

    return run


@pytest.fixture
def helpers(monkeypatch):
    """Make ``tests/helpers`` importable, by name, here and in spawned processes."""
    folder = Path(__file__).parents[1] / "helpers"
    monkeypatch.syspath_prepend(folder)
    return folder
