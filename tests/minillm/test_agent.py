import numpy as np
import pytest

import envs
from minillm.agent import LLMAgent, interact
from minillm.errors import TokenizerError, UserError
from minillm.objectives import IGNORE
from minillm.ops import log_softmax
from minillm.tokenizer import CharTokenizer

LETTERS = CharTokenizer("abcd\n?")


def agent_of(model, **options):
    return LLMAgent(model, LETTERS, **{"rng": 0, "max_new_tokens": 4} | options)


@pytest.fixture
def model(random_model):
    return random_model(tied=False, vocab_size=7, n_positions=14)


def model_with_logits(random_model, wanted):
    """A GPT whose head is solved for: ``wanted`` maps contexts (tuples of ids) to the logits that follow them."""
    V = len(next(iter(wanted.values())))
    model = random_model(tied=False, vocab_size=V, n_positions=4, n_embd=8)
    hidden = [model.forward(np.array(context))[1][3][-1] for context in wanted]  # what the head multiplies
    head = model.parameters["lm_head.weight"]
    head[...] = np.linalg.lstsq(np.array(hidden), np.array(list(wanted.values())), rcond=None)[0].T
    return model


def test_a_set_of_two_actions_is_chosen_from_by_summed_log_probabilities(random_model):
    """g is "go", t and l are "turn left"; id 3 ends a text. After "turn" come left 3.0 and the two others −1 and 0."""
    never = -50.0
    wanted = {
        (3,): [2.0, 1.9, 0.0, never],
        (3, 1): [-1.0, 0.0, 3.0, never],
        (3, 0): [never, never, never, 0.0],
        (3, 1, 2): [never, never, never, 0.0],
    }
    agent = LLMAgent(model_with_logits(random_model, wanted), CharTokenizer("gtl"), rng=0)
    log_p = agent.action_log_probs([""], ["g", "tl"])
    go = log_softmax(np.array([2.0, 1.9, 0.0]))[0][0]
    turn_left = log_softmax(np.array([2.0, 1.9, 0.0]))[0][1] + log_softmax(np.array([-1.0, 0.0, 3.0]))[0][2]
    np.testing.assert_allclose(log_p, [[go, turn_left]], rtol=1e-9)
    np.testing.assert_allclose(np.exp(log_softmax(log_p)[0]), [[0.541, 0.459]], atol=5e-4)  # token mean: .432, .568
    choices = [agent.choose_action("", ["g", "tl"]) for _ in range(400)]
    assert 0.541 - 0.08 < choices.count("g") / 400 < 0.541 + 0.08
    assert set(choices) == {"g", "tl"}


def loop_texts(tokenizer, ids):
    """One row after the other."""
    return [tokenizer.decode(row[row != IGNORE], skip_special_tokens=True) for row in ids]


@pytest.mark.parametrize("option", [{}, {"temperature": 1.7}, {"top_k": 4}, {"top_p": 0.95}])
def test_log_probs_of_an_act_are_those_of_its_actions(random_model, option):
    """Behaviour and score are one distribution, filters included: their ratio is 1."""
    model = random_model(tied=False, vocab_size=7, n_positions=20)
    head = model.parameters["lm_head.weight"]
    likely = int(model.forward(np.array([6]))[0][-1].argmax())
    head[[likely, 6]] = head[[6, likely]]  # so that texts end now and then
    agent = agent_of(model, max_new_tokens=8, **option)
    states = np.array(["ab", "", "cab\n?d", "ab"] * 10)
    choice = agent.act(states)
    end = LETTERS.eos_token_id
    ended = (choice.ids == end).any(axis=1)
    assert ended.any()
    for row in np.flatnonzero(ended):
        expected = agent.action_log_probs([states[row]], [choice.texts[row]])[0, 0]
        assert choice.log_probs[row].sum() == pytest.approx(expected, rel=1e-10)
    assert choice.texts.tolist() == loop_texts(LETTERS, choice.ids)
    for row in range(len(states)):
        ids = choice.ids[row][choice.ids[row] != IGNORE]
        assert (ids[:-1] != end).all()
        assert ids[-1] == end or len(ids) == choice.ids.shape[1]


def loop_action_log_probs(model, tokenizer, states, actions):
    """One full forward for each state and action."""
    scores, end = np.zeros((len(states), len(actions))), [tokenizer.eos_token_id]
    for n, state in enumerate(states):
        for a, action in enumerate(actions):
            prompt, written = [*tokenizer.encode(state), *end], [*tokenizer.encode(action), *end]
            log_p, _ = log_softmax(model.forward(np.array(prompt + written))[0])
            scores[n, a] = sum(log_p[len(prompt) - 1 + t, token] for t, token in enumerate(written))
    return scores


def test_action_log_probs_equal_a_full_forward(model):
    states, actions = ["ab", "", "cab\n?d", "ab"], ["a", "", "cd", "bbb"]
    scores = agent_of(model).action_log_probs(states, actions)
    np.testing.assert_allclose(scores, loop_action_log_probs(model, LETTERS, states, actions), rtol=1e-12)
    assert (scores[0] == scores[3]).all()


def test_each_row_acts_as_if_alone(model):
    """Greedy: states "a" and "bbbb" in one batch."""
    agent = agent_of(model, temperature=0)
    together = agent.act(["a", "bbbb", "", "?c"])
    for state, text, ids in zip(["a", "bbbb", "", "?c"], together.texts, together.ids, strict=True):
        alone = agent.act([state])
        assert alone.texts[0] == text == agent.generate_action(state)
        assert ids[: alone.ids.shape[1]].tolist() == alone.ids[0].tolist()


def test_acting_with_a_memory_is_acting(model):
    remembering = agent_of(model, rng=1).remembering_act()
    agent = agent_of(model, rng=1)
    for states in (["ab", "c"], ["c", "abcd", "ab", "c"], ["", "ab"], ["c"]):
        one, other = remembering(np.array(states)), agent.act(np.array(states))
        assert one.texts.tolist() == other.texts.tolist()
        assert one.ids.tolist() == other.ids.tolist()
        np.testing.assert_allclose(one.log_probs, other.log_probs, rtol=1e-12)


def test_sets_of_strings_fill_the_language_from_below(model):
    """p(end) < P(at most one character) < P(at most two) < 1."""
    agent = agent_of(model)
    short = np.exp(agent.action_log_probs(["ab"], ["", *LETTERS.characters])).sum()
    pairs = [a + b for a in LETTERS.characters for b in LETTERS.characters]
    longer = np.exp(agent.action_log_probs(["ab"], pairs)).sum()
    z, _ = model.forward(np.array([[*LETTERS.encode("ab"), LETTERS.eos_token_id]]))
    p_end = np.exp(log_softmax(z[0, -1])[0])[LETTERS.eos_token_id]
    assert p_end < short < short + longer < 1


def test_the_same_seed_acts_the_same(model):
    states = ["a", "b", "ab"] * 5
    choice = agent_of(model, rng=3).act(states)
    again, other = agent_of(model, rng=3).act(states), agent_of(model, rng=4).act(states)
    assert choice.texts.tolist() == again.texts.tolist()
    assert (choice.log_probs == again.log_probs).all()
    assert choice.texts.tolist() != other.texts.tolist()
    assert agent_of(model, rng=np.random.default_rng(3)).act(states).texts.tolist() == choice.texts.tolist()


@pytest.mark.parametrize("option", [{"temperature": 0.3}, {"top_k": 2}, {"top_p": 0.3}, {"max_new_tokens": 1}])
def test_every_option_changes_the_actions(model, option):
    states = ["a", "b", "ab"] * 20
    assert agent_of(model).act(states).texts.tolist() != agent_of(model, **option).act(states).texts.tolist()


def test_greedy_and_top_k_one_agree(model):
    states = ["a", "b", "ab"]
    greedy, single = (agent_of(model, **option).act(states) for option in ({"temperature": 0}, {"top_k": 1}))
    assert greedy.texts.tolist() == single.texts.tolist()


def test_an_action_that_is_cut_has_no_end_token(model):
    choice = agent_of(model, max_new_tokens=1).act(["ab"] * 50)
    assert choice.ids.shape == (50, 1)
    cut = choice.ids[:, 0] != LETTERS.eos_token_id
    assert cut.any()
    assert all(len(text) == 1 for text in choice.texts[cut])
    assert all(text == "" for text in choice.texts[~cut])


def test_acting_past_the_context_goes_on(model):
    choice = agent_of(model, max_new_tokens=30).act(["abcabcabcabcd", "a"] * 10)
    assert choice.ids.shape[1] > 14
    assert np.isfinite(choice.log_probs).all()


def test_interact_is_one_turn(model):
    class Recorder:
        def get_state(self):
            return "ab"

        def step(self, action):
            self.action = action
            return 0.5, "next"

    environment = Recorder()
    assert interact(agent_of(model, rng=1), environment) == (0.5, "next")
    assert environment.action == agent_of(model, rng=1).generate_action("ab")


def test_interact_plays_a_simple_environment(random_model):
    environment = envs.SimpleEnv(envs.make("text/bandit-3-2", seed=0))
    texts = [environment.get_state(), *envs.exact("text/bandit-3-2").action_texts]
    tokenizer = CharTokenizer.from_texts(texts)
    agent = LLMAgent(random_model(vocab_size=tokenizer.vocab_size), tokenizer, max_new_tokens=3, rng=0)
    reward, state = interact(agent, environment)
    assert 0 <= reward <= 1
    assert isinstance(state, str)
    assert environment.done


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.5}, "temperature must be finite and at least 0, got -0.5"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 2}, "top_p must be above 0 and at most 1, got 2"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"max_new_tokens": "5"}, "max_new_tokens must be an integer, got '5'"),
    ],
)
def test_a_bad_option_is_named(model, options, message):
    with pytest.raises(UserError, match=message):
        agent_of(model, **options)


def test_a_tokenizer_that_is_too_large_is_named(model):
    with pytest.raises(UserError, match="a tokenizer of 9 ids does not fit a model of vocab_size 7"):
        LLMAgent(model, CharTokenizer("abcdefgh"))


def test_a_prompt_that_is_too_long_is_named(model):
    with pytest.raises(UserError, match=r"prompt 1 has 15 tokens, more than n_positions = 14: 'b{14}'"):
        agent_of(model).act(["a", "b" * 14])


def test_an_unknown_character_is_named_with_its_prompt(model):
    with pytest.raises(TokenizerError, match=r"character 'Z' \(U\+005A\) at position 1 of text 1"):
        agent_of(model).act(["a", "bZ"])
    with pytest.raises(TokenizerError, match="character 'Z'"):
        agent_of(model).action_log_probs(["a"], ["Z"])


def test_an_empty_set_of_actions_is_named(model):
    with pytest.raises(UserError, match="no actions to choose from"):
        agent_of(model).choose_action("a", [])
