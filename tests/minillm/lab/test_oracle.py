"""The oracle's files: complete, exact beyond float64, readable without us; and the comparison that names what is wrong."""

import json
import subprocess
import sys

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.lab import oracle
from minillm.lab.standard import random_case


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("oracle")
    assert [path.stem for path in oracle.write(directory)] == list(oracle.CASES)
    return directory


@pytest.fixture
def right(directory):
    """Everything that comes out, of every case, as the files have it."""
    numbers = {}
    for path in directory.glob("*.npz"):
        arrays = dict(np.load(path))
        numbers |= {f"{path.stem}/{key.removeprefix('low/')}": arrays[key.removeprefix("low/")] for key in arrays if "low/" in key}
    return numbers


def judged(directory, numbers, tmp_path):
    np.savez(tmp_path / "yours.npz", **numbers)
    return oracle.compare(directory, tmp_path / "yours.npz")


def test_right_numbers_pass(directory, right, tmp_path):
    rows = judged(directory, right, tmp_path)
    assert len(rows) == len(right)
    assert oracle.first_wrong(rows) is None
    assert oracle.report(rows) == f"{len(right)} tensors of {len(oracle.CASES)} cases agree"


def test_float32_numbers_pass_with_the_bound_of_float32(directory, right, tmp_path):
    rows = judged(directory, {key: value.astype(np.float32) for key, value in right.items()}, tmp_path)
    assert oracle.first_wrong(rows) is None
    as_if = {key: value.astype(np.float32).astype(np.float64) for key, value in right.items()}
    assert oracle.first_wrong(judged(directory, as_if, tmp_path)) is not None


def test_our_float64_numbers_pass(directory, tmp_path):
    numbers = {}
    for name, options in oracle.CASES.items():
        case = random_case(**options)
        numbers |= {f"{name}/gradient/{key}": value for key, value in case.layout(case.gradient(case.theta)).items()}
        numbers[f"{name}/loss"] = np.asarray(case.loss(case.theta))
    assert oracle.first_wrong(judged(directory, numbers, tmp_path)) is None


def test_the_first_wrong_tensor_is_named_in_the_order_of_the_computation(directory, right, tmp_path):
    right["tied/gradient/h.0.ln_1.weight"] = 2 * right["tied/gradient/h.0.ln_1.weight"]
    right["tied/activation/h.1.attn.p"] = right["tied/activation/h.1.attn.p"].copy()
    right["tied/activation/h.1.attn.p"][2, 1, 3, 0] += 1e-9
    rows = judged(directory, right, tmp_path)
    wrong = oracle.first_wrong(rows)
    assert (wrong.case, wrong.tensor, wrong.index) == ("tied", "activation/h.1.attn.p", (2, 1, 3, 0))
    assert [row.tensor for row in rows if not row.ok] == ["activation/h.1.attn.p", "gradient/h.0.ln_1.weight"]
    assert "first wrong tensor: tied/activation/h.1.attn.p is off by 1e-09 at [2, 1, 3, 0]" in oracle.report(rows)


def test_a_nan_is_wrong(directory, right, tmp_path):
    right["untied/loss"] = np.array(np.nan)
    assert oracle.first_wrong(judged(directory, right, tmp_path)).tensor == "loss"


def test_high_and_low_part_together_are_exact_beyond_float64(directory):
    arrays, case = np.load(directory / "tied.npz"), random_case(**oracle.CASES["tied"])
    gradient = case.layout(case.gradient(case.theta.astype(np.longdouble)))
    for name, exact in gradient.items():
        high, low = arrays[f"gradient/{name}"].astype(np.longdouble), arrays[f"low/gradient/{name}"]
        assert np.abs(low).max() > 0
        np.testing.assert_array_equal(high + low, exact)


def test_the_config_is_hugging_faces(directory):
    config = json.loads(str(np.load(directory / "wide-heads.npz")["config"]))
    assert (config["vocab_size"], config["n_head"], config["n_embd"], config["tie_word_embeddings"]) == (11, 3, 6, True)


def test_a_case_is_read_with_numpy_alone(directory):
    code = (
        "import sys, numpy\n"
        f"z = numpy.load({str(directory / 'tied.npz')!r}, allow_pickle=False)\n"
        "[z[key] for key in z.files]\n"
        "assert not any(name.startswith('minillm') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bad_files_are_named(directory, right, tmp_path):
    with pytest.raises(UserError, match=r"no case has a tensor 'tied/logit'"):
        judged(directory, {"tied/logit": right["tied/logits"]}, tmp_path)
    with pytest.raises(UserError, match=r"tied/logits has shape \(3, 6\), expected \(3, 6, 7\)"):
        judged(directory, {"tied/logits": right["tied/logits"][..., 0]}, tmp_path)
    with pytest.raises(UserError, match="no tensor in common"):
        judged(directory, {}, tmp_path)
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(UserError, match=r"text\.npz is not a readable \.npz file"):
        oracle.compare(directory, tmp_path / "text.npz")
    with pytest.raises(UserError, match=r"absent\.npz is not a readable"):
        oracle.compare(directory, tmp_path / "absent.npz")
    np.savez(tmp_path / "old.npz", format=0)
    np.savez(tmp_path / "yours2.npz", **{"old/loss": 0.0})
    with pytest.raises(UserError, match="not an oracle case of format 1"):
        oracle.compare(tmp_path, tmp_path / "yours2.npz")
