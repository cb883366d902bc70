import numpy as np
import pytest

import envs
from minillm import grid_maps, plots


def test_arrows_are_as_long_as_the_probabilities(drawn):
    path, figures = drawn
    mdp = envs.exact("grid/frozenlake")
    pi = np.random.default_rng(0).dirichlet(np.ones(4), size=16)
    (room,) = grid_maps.rooms(mdp)
    plots.policy(path, [room], mdp.action_texts.tolist(), pi, mdp.state_values(pi)[0], "title")
    assert path.read_bytes().startswith(b"\x89PNG")
    quiver = next(part for part in figures[0].axes[0].collections if hasattr(part, "U"))
    lengths = np.hypot(quiver.U, quiver.V).reshape(len(room.states), 4)
    assert lengths == pytest.approx(0.42 * pi[room.states])
    up = quiver.V.reshape(len(room.states), 4)[:, 0]
    assert (up < 0).all()  # rows are counted downwards


def test_numbers_and_walls_stand_in_their_cells(drawn):
    path, figures = drawn
    mdp = envs.exact("grid/frozenlake")
    (room,) = grid_maps.rooms(mdp)
    plots.visits(path, room.picture, room.spread(np.arange(16.0)), "title")
    texts = {(round(t.get_position()[0]), round(t.get_position()[1])): t.get_text() for t in figures[0].axes[0].texts}
    assert texts[3, 3] == "G"
    assert texts[1, 1] == "O"
    assert texts[0, 0] == f"{room.states[0]:.3g}"


def test_an_action_that_is_no_way_is_written_out(drawn):
    path, figures = drawn
    mdp = envs.exact("grid/keydoor")
    room = grid_maps.rooms(mdp)[0]
    pi = np.tile(np.eye(6)[4], (len(mdp.state_texts), 1))
    plots.policy(path, [room], mdp.action_texts.tolist(), pi, mdp.state_values(pi)[0], "title")
    assert sum(t.get_text() == "take" for t in figures[0].axes[0].texts) == len(room.states)
