import json

import numpy as np

import envs
from envs.facts import COLUMNS, dead_ends, table
from envs.tables import tabulate


def test_cards_are_json_and_the_table_shows_each():
    cards = envs.cards()
    assert [card["id"] for card in cards] == envs.ids()
    assert json.loads(json.dumps(cards)) == cards
    lines = table(cards).split("\n")
    assert len(lines) == len(cards) + 1
    assert lines[0].split() == [*COLUMNS, "rewards"]
    for card in cards:
        assert card["uniform"] <= (card["stationary"] or card["optimal"]) + 1e-12 <= card["optimal"] + 2e-12
        assert card["choices"] >= 1


def test_dead_ends():
    steps = {("s", "a"): "pit", ("s", "b"): "end", ("pit", "a"): "pit", ("pit", "b"): "pit"}
    mdp = tabulate("x", start={"s": 1.0}, actions=["a", "b"], outcomes=lambda s, a: [(1.0, steps[s, a], 0)],
                   terminal=lambda s: s == "end", text=str, horizon=3, invalid_reward=0.0)  # fmt: skip
    assert mdp.state_texts[np.flatnonzero(dead_ends(mdp))].tolist() == ["pit"]
