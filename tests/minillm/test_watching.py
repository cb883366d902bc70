import io
import itertools

import numpy as np
import pytest

import envs
from minillm.agent import LLMAgent
from minillm.config import GPTConfig
from minillm.tokenizer import CharTokenizer
from minillm.transformer import GPT
from minillm.watching import Screen, Turn, Verdict, described, frames, judge, turns


@pytest.fixture
def world():
    mdp = envs.exact("grid/empty-3")
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts])
    model = GPT(GPTConfig(tokenizer.vocab_size, 24, 8, 1, 2), rng=0, dtype=np.float64)
    return LLMAgent(model, tokenizer, max_new_tokens=6, rng=1), mdp


def test_turns_are_a_game_and_their_probabilities_those_of_the_model(world):
    agent, mdp = world
    played = list(turns(agent, mdp, seed=0, episodes=2))
    assert [turn.episode for turn in played] == sorted(turn.episode for turn in played)
    for before, after in itertools.pairwise(played):
        assert after.step == (1 if before.ending else before.step + 1)
        assert before.ending or after.state == before.next_state
    for turn in played:
        if turn.tokens[-1][0] == "∎":
            p = float(np.exp(agent.action_log_probs([turn.state], [turn.action])[0, 0]))
            assert np.prod([p for _, p in turn.tokens]) == pytest.approx(p, rel=1e-9)
    assert played[-1].total == pytest.approx(sum(turn.reward for turn in played if turn.episode == 2))


def test_the_verdict_is_the_tables(world):
    agent, mdp = world
    verdict = judge(agent, mdp)
    state = "AG.\n...\n..."
    turn = Turn(1, 1, state, "right", [], 0, 0, "", True, "")
    found = verdict(turn)
    assert found.best == ["right"]
    assert found.optimum == pytest.approx(mdp.solve().V[0, mdp.state_texts.tolist().index(state)])
    assert found.value < found.optimum


def test_the_description_says_whether_the_best_was_done():
    turn = Turn(1, 1, "s", "up", [("u", 0.5), ("p", 1.0), ("∎", 0.25)], 0, 0, "s", True, "")
    assert described(turn, Verdict(0.5, 1.0, ["up"])) == "  u 0.50  p 1.00  ∎ 0.25\n  exact V(s) 0.5000 of 1.0000, best: 'up' (done)\n"
    assert "best: 'a', 'b', 'c', 'd', … (not done)" in described(turn, Verdict(0.5, 1.0, list("abcde")))
    assert "best: no action\n" in described(turn, Verdict(0.5, 1.0, []))


def test_frames_grow_by_a_character_and_end_with_the_next_state():
    turn = Turn(1, 2, "before", "up", [("u", 0.5), ("∎", 1.0)], 1.5, 2.5, "after", True, "the end")
    shown = list(frames(turn, Verdict(0, 0, [])))
    assert [frame.split("> ")[1] for frame in shown[:3]] == ["\n", "u 0.50\n", "u 0.50  ∎ 1.00\n"]
    assert "after" in shown[3]
    assert "reward 1.5, sum 2.5   the end" in shown[3]


def test_a_screen_draws_over_what_it_drew_and_cuts_long_lines():
    out = io.StringIO()
    screen = Screen(out, 3)
    screen.show("abcdef\nb\n")
    screen.show("c")
    screen.keep()
    screen.show("d")
    assert out.getvalue() == "abc\nb\n\x1b[2F\x1b[Jc\nd\n"
