import numpy as np
import pytest

from minillm import plots


def test_losses_are_drawn_in_bits_with_the_yardsticks(drawn):
    path, figures = drawn
    plots.loss_curve(path, [(1, 2.0), (2, 1.0)], [(0, np.log(2) * 5)], {"bigram": 3.5}, "title")
    assert path.read_bytes().startswith(b"\x89PNG")
    (axes,) = figures[0].axes
    assert axes.lines[1].get_ydata().tolist() == pytest.approx([5.0])
    assert [text.get_text() for text in axes.texts] == ["bigram 3.500"]
