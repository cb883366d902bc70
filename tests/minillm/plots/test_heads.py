import numpy as np

from minillm import plots


def test_attention_has_a_picture_for_each_layer_and_head(drawn):
    path, figures = drawn
    weights = [np.random.default_rng(i).random((3, 4, 4)) for i in range(2)]
    plots.attention(path, weights, list("abcd"))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [axes.get_title() for axes in figures[0].axes] == [f"layer {i}, head {j}" for i in range(2) for j in range(3)]
    assert (figures[0].axes[4].images[0].get_array() == weights[1][1]).all()
