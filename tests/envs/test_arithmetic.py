import re
from fractions import Fraction

import pytest

import envs
from envs.arithmetic import countdown_score, evaluate
from envs.tables import strings_up_to

VALUES = [("1+2*3", 7), ("(1+2)*3", 9), ("8/3/2", Fraction(4, 3)), ("2-3-4", -5), ("10", 10), ("0", 0), ("(1)", 1)]
NONE = ["", "2**3", "1_0", "1e2", "0x0*3", "+1", "-1", "1 ", "01", "1/0", "1/(2-2)", "(", "()", "1)", "2(3)", "1+"]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_values(text, value):
    assert evaluate(text)[0] == value


@pytest.mark.parametrize("text", [*NONE, "٣", "３", "1\n"])
def test_not_an_expression(text):
    assert evaluate(text) is None


def test_parser_agrees_with_python_on_all_short_strings():
    for text in strings_up_to("12+*()", 5):
        sign_or_power = re.search(r"(^|[+*(])\+|\*\*", text)
        try:
            expected = None if sign_or_power else eval(text, {"__builtins__": {}})
        except (SyntaxError, TypeError):
            expected = None
        result = evaluate(text)
        assert (result and result[0]) == (None if expected == () else expected), text


def test_countdown_scores():
    assert countdown_score("1+2", [1, 2], 3) == 1
    for answer in ("", "3", "1+1+1", "1+2+0", "2**3", "0x0*3", "1_0", "1e2", "1+2 ", "1+2=3"):
        assert countdown_score(answer, [1, 2], 3) == 0


@pytest.mark.parametrize("N", [2, 3])
def test_countdown_table_is_the_scorer(N):
    mdp = envs.exact(f"text/countdown-{N}")
    for s in range(0, len(mdp.state_texts) - 1, 5 if N == 2 else 60):
        numbers, target = mdp.state_texts[s].split("=")
        numbers = [int(n) for n in numbers.split()]
        for a in range(0, mdp.invalid, N):
            full = mdp.rewards[s, a, 0] == 1
            assert full == countdown_score(str(mdp.action_texts[a]), numbers, int(target))
    assert pytest.approx(1, rel=1e-14) == mdp.solve().J


def test_arith_accepts_one_string_a_prompt():
    mdp = envs.exact("text/arith")
    env = envs.make("text/arith")
    start = mdp.state_texts.tolist().index("2-4=")
    for answer, paid in (("-2", 1), ("2", 0), ("-02", 0), ("−2", 0), ("-2 ", 0), ("", 0)):
        env.reset(options={"state": start})
        assert env.step(answer)[1] == paid
    assert (mdp.rewards[:-1, :-1, 0].sum(-1) == 1).all()
    with pytest.raises(ValueError, match="2 to 100"):
        envs.exact("text/arith-1")
