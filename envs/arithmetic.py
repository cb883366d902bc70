r"""Arithmetic in one step: sums to answer, and countdown (reach the target with each number once)."""

from fractions import Fraction
from itertools import combinations_with_replacement, product

import numpy as np

from envs.core import register
from envs.mdp import ExactMDP
from envs.tables import one_step

DIGITS = "0123456789"  # ASCII only: str.isdigit would let Arabic digits in
OPERATORS = "+-*/"


def apply(operator: str, a: Fraction, b: Fraction) -> Fraction | None:
    """Return a ∘ b, exactly; None for a division by zero."""
    if operator == "/":
        return a / b if b else None
    return {"+": a + b, "-": a - b, "*": a * b}[operator]


def tokenize(text: str) -> list[str] | None:
    """Return numbers without leading zeros, operators and brackets as tokens; None if there is anything else."""
    tokens: list[str] = []
    for i, character in enumerate(text):
        if character in DIGITS and i and text[i - 1] in DIGITS:
            if tokens[-1] == "0":
                return None
            tokens[-1] += character
        elif character in DIGITS + OPERATORS + "()":
            tokens.append(character)
        else:
            return None
    return tokens


def evaluate(text: str) -> tuple[Fraction, list[int]] | None:
    """Return the exact value of an expression and the numbers in it, or None where it is none.

    Grammar: sum = product (('+' | '-') product)*, product = atom (('*' | '/') atom)*, atom = number | '(' sum ')'.
    There is no sign, no power, no space. Nothing is handed to Python's own evaluator.
    """
    tokens = tokenize(text)
    if not tokens:
        return None
    value, rest = _chain(tokens, 0, 0)
    if value is None or rest != len(tokens):
        return None
    return value, [int(token) for token in tokens if token[0] in DIGITS]


def _chain(tokens: list[str], i: int, level: int) -> tuple[Fraction | None, int]:
    """Parse a sum (level 0), a product (1) or an atom (2) from token i; return (value, next token)."""
    if level == 2:
        return _atom(tokens, i)
    value, i = _chain(tokens, i, level + 1)
    while value is not None and i < len(tokens) and tokens[i] in ("+-", "*/")[level]:
        operator = tokens[i]
        right, i = _chain(tokens, i + 1, level + 1)
        value = None if right is None else apply(operator, value, right)
    return value, i


def _atom(tokens: list[str], i: int) -> tuple[Fraction | None, int]:
    if i < len(tokens) and tokens[i][0] in DIGITS:
        return Fraction(tokens[i]), i + 1
    if i < len(tokens) and tokens[i] == "(":
        value, i = _chain(tokens, i + 1, 0)
        if i < len(tokens) and tokens[i] == ")":
            return value, i + 1
    return None, i


def countdown_score(answer: str, numbers: list[int], target: int) -> float:
    """Return 1 if the answer is an expression of that value with each number used exactly once, else 0."""
    result = evaluate(answer)
    return float(result is not None and result[0] == target and sorted(result[1]) == sorted(numbers))


def arith(id: str, N: int = 5) -> ExactMDP:
    r"""`text/arith-N`: prompts `a+b=` and `a-b=` with operands 0 to N - 1; the answer in decimal pays 1; $H = 1$.

    Actions: the canonical integers from -(N - 1) to 2(N - 1): `-0`, `07` and `+3` are invalid, and pay 0.
    """
    if not 2 <= N <= 100:
        raise ValueError(f"{id}: the number of operands must be 2 to 100, got {N}")
    tasks = list(product(range(N), "+-", range(N)))
    answers = np.arange(1 - N, 2 * N - 1)
    values = np.array([a + b if operator == "+" else a - b for a, operator, b in tasks])
    prompts = [f"{a}{operator}{b}=" for a, operator, b in tasks]
    return one_step(id, prompts, [str(b) for b in answers], values[:, None] == answers)


def expressions(count: int, largest: int) -> list[str]:
    """Return every expression of `count` (2 or 3) one-digit numbers from 1 to `largest`, bracketed in every way."""
    shapes = ("{}{}{}",) if count == 2 else ("{}{}{}{}{}", "({}{}{}){}{}", "{}{}({}{}{})")
    pools = [OPERATORS if i % 2 else [str(n) for n in range(1, largest + 1)] for i in range(2 * count - 1)]
    return [shape.format(*parts) for shape in shapes for parts in product(*pools)]


def countdown(id: str, N: int = 2) -> ExactMDP:
    r"""`text/countdown-N`: a prompt `1 2=3` asks for an expression of value 3, each number once; N = 2 or 3; $H = 1$.

    Numbers from 1 to 6 (N = 2) or 4 (N = 3), targets 1 to 12 that can be reached. The actions are all expressions of N
    such numbers; a right one pays 1, another that uses the numbers once pays 0.2, everything else 0. Values are exact
    fractions.
    """
    if N not in (2, 3):
        raise ValueError(f"{id}: the number of numbers must be 2 or 3, got {N}")
    largest = 6 if N == 2 else 4
    answers = expressions(N, largest)
    results = [evaluate(answer) for answer in answers]
    prompts, scores = [], []
    for numbers in combinations_with_replacement(range(1, largest + 1), N):
        uses = np.array([r is not None and tuple(sorted(r[1])) == numbers for r in results])
        for target in range(1, 13):
            right = uses & [r is not None and r[0] == target for r in results]
            if right.any():
                prompts.append(" ".join(map(str, numbers)) + f"={target}")
                scores.append(np.where(right, 1.0, 0.2 * uses))
    return one_step(id, prompts, answers, np.array(scores))


def _arith_small(id: str) -> ExactMDP:
    return arith(id)


def _countdown_small(id: str) -> ExactMDP:
    return countdown(id)


register("text/arith", _arith_small)
register("text/arith-{N}", arith)
register("text/countdown", _countdown_small)
register("text/countdown-{N}", countdown)
