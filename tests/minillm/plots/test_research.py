import dataclasses

import numpy as np
import pytest

from minillm import plots
from minillm.lab.distribution import Along
from minillm.lab.landscape import Landscape


def test_the_kill_table_puts_small_errors_left_and_controls_right(drawn):
    path, figures = drawn
    rows = [
        {"equivalent": True, "relative_error": 0.0, "killed": {"ours": 0.0, "theirs": 1.0}},
        {"equivalent": False, "relative_error": 0.5, "killed": {"ours": 1.0, "theirs": 0.25}},
        {"equivalent": False, "relative_error": 1e-8, "killed": {"ours": 1.0, "theirs": 0.0}},
    ]
    plots.kill_table(path, rows)
    image = figures[0].axes[1].images[0].get_array()
    assert image.tolist() == [[1, 1, 0], [0, 0.25, 1]]


@dataclasses.dataclass
class Row:
    name: str
    error: float
    variance: float


def test_estimators_of_the_gradient_come_first_and_have_circles(drawn):
    path, figures = drawn
    plots.bias_and_variance(path, [Row("biased", 0.5, 1.0), Row("right", 1e-16, 2.0)], 2)
    left, right = figures[0].axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["right", "biased"]
    assert [(line.get_marker(), *line.get_xdata()) for line in right.lines] == [("o", 2.0), ("x", 1.0)]


def test_step_sizes_draw_zero_at_the_floor(drawn):
    path, figures = drawn
    plots.step_sizes(path, np.array([1e-3, 1e-2]), {"a": np.array([0.0, 1e-3])})
    assert figures[0].axes[0].lines[0].get_ydata().tolist() == [1e-18, 1e-3]


def test_a_distribution_shows_its_mean_and_the_gradient(drawn):
    path, figures = drawn
    plots.distributions(path, {"x": Along(np.array([-1.0, 2.0]), np.array([0.25, 0.75]))}, 2)
    gradient, mean = figures[0].axes[0].lines
    assert gradient.get_xdata() == [1, 1]
    assert mean.get_xdata() == pytest.approx([1.25, 1.25])
    assert "downhill with probability 0.250" in mean.get_label()


def test_the_path_lies_in_the_landscape(drawn):
    path, figures = drawn
    x = np.linspace(-1, 1, 5)
    track = np.array([[-0.5, -0.5], [0.0, 0.0]])
    plots.landscape(path, Landscape(x, x, -(x[:, None] ** 2) - x**2, track, np.array([0.1, 0.2]), 0.9), 1.0, "title")
    assert figures[0].axes[0].lines[0].get_xydata().tolist() == track.tolist()
