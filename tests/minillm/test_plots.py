import numpy as np
import pytest

from minillm import plots

pytest.importorskip("matplotlib", reason="pictures need the extra 'plot'")


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Where to draw to, and a list of what was drawn."""
    figures, write = [], plots._write
    monkeypatch.setattr(plots, "_write", lambda path, figure: (figures.append(figure), write(path, figure)))
    return tmp_path / "x.png", figures


def test_losses_are_drawn_in_bits_with_the_yardsticks(drawn):
    path, figures = drawn
    plots.loss_curve(path, [(1, 2.0), (2, 1.0)], [(0, np.log(2) * 5)], {"bigram": 3.5}, "title")
    assert path.read_bytes().startswith(b"\x89PNG")
    (axes,) = figures[0].axes
    assert axes.lines[1].get_ydata().tolist() == pytest.approx([5.0])
    assert [text.get_text() for text in axes.texts] == ["bigram 3.500"]


def test_attention_has_a_picture_for_each_layer_and_head(drawn):
    path, figures = drawn
    weights = [np.random.default_rng(i).random((3, 4, 4)) for i in range(2)]
    plots.attention(path, weights, list("abcd"))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [axes.get_title() for axes in figures[0].axes] == [f"layer {i}, head {j}" for i in range(2) for j in range(3)]
    assert (figures[0].axes[4].images[0].get_array() == weights[1][1]).all()
