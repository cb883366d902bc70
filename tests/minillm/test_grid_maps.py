import numpy as np
import pytest

import envs
from minillm import grid_maps
from minillm.errors import UserError


def test_a_room_holds_the_states_that_differ_in_the_agents_place_alone():
    mdp = envs.exact("grid/empty-3")
    found = grid_maps.rooms(mdp)
    assert len(found) == 9  # places of the goal
    for room in found:
        assert len(room.states) == 8
        for state, (row, column) in zip(room.states, room.cells, strict=True):
            picture = room.picture.copy()
            assert picture[row, column] == "."
            picture[row, column] = "A"
            assert "\n".join("".join(line) for line in picture) == mdp.state_texts[state]


def test_an_agent_with_the_key_is_an_agent_too():
    found = grid_maps.rooms(envs.exact("grid/keydoor"))
    assert sum(len(room.states) for room in found) > 0
    assert all((room.picture != "A").all() and (room.picture != "H").all() for room in found)


def test_a_world_that_is_no_grid_is_named():
    with pytest.raises(UserError, match="text/bandit-3-2 has no picture with an agent"):
        grid_maps.rooms(envs.exact("text/bandit-3-2"))


def test_visits_of_all_cells_are_the_expected_number_of_steps():
    mdp = envs.exact("grid/empty-3")
    policy = mdp.uniform()
    alive = mdp.occupancy(policy)[:, ~mdp.terminal].sum()
    expected = grid_maps.visits(mdp, policy, grid_maps.rooms(mdp))
    assert expected.sum() == pytest.approx(alive, rel=1e-12)
    assert expected == pytest.approx(expected.T, rel=1e-12)  # the room is symmetric


def test_some_rooms_are_spread_over_the_largest():
    found = grid_maps.rooms(envs.exact("grid/empty-3"))
    chosen = grid_maps.some(found, 3)
    assert [next(i for i, room in enumerate(found) if room is one) for one in chosen] == [0, 4, 8]
    assert len(grid_maps.some(found, 100)) == 9


def test_what_rooms_agree_on_is_their_background():
    mdp = envs.exact("grid/cliff")
    (room,) = grid_maps.rooms(mdp)
    assert (grid_maps.common([room]) == room.picture).all()
    assert (grid_maps.common(grid_maps.rooms(envs.exact("grid/empty-3"))) == ".").all()
    assert np.isnan(room.spread(np.zeros(len(mdp.state_texts)))[3, 1:]).all()  # the cliff and the goal
