import pytest

from benchmarks import sweep
from benchmarks.rounds import Row
from benchmarks.shapes import SHAPES, chosen


def test_each_case_changes_one_number():
    for axis, value, shape in sweep.cases(SHAPES["tiny"]):
        assert getattr(shape, axis) == value
        changed = [name for name in ("V", "T", "B", "layers", "heads", "width") if getattr(shape, name) != getattr(SHAPES["tiny"], name)]
        assert changed in ([], [axis])


def test_the_picture_is_a_png(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [Row(f"tiny, {axis} = {value}", peer, 2.0 * value, 3.0 * value) for axis, values in sweep.AXES.items()
            for value in values for peer in ("torch eager", "its matrix products alone")]  # fmt: skip
    sweep.draw(tmp_path / "sweep.png", [*rows, Row("tiny, B = 1", "JAX jit", missing="jax is not installed")])
    assert (tmp_path / "sweep.png").read_bytes()[:4] == b"\x89PNG"


def test_an_unknown_shape_is_an_error(capsys):
    assert chosen([], ["tiny"]) == ["tiny"]
    assert chosen(["micro"], ["tiny"]) == ["micro"]
    with pytest.raises(SystemExit) as stopped:
        chosen(["micro", "huge"], ["tiny"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "there is no shape 'huge'; there are micro, tiny, small, tiny-256\n"
