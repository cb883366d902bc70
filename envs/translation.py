r"""Translation between two small synthetic languages with a lexicon, a word order and agreement."""

from collections import Counter
from itertools import product

import numpy as np

from envs.core import register
from envs.mdp import ExactMDP
from envs.tables import one_step

NOUNS = {"cat": "mi", "dog": "to"}
ADJECTIVES = {"big": "fa", "red": "lu"}
VERBS = {"run": "ne", "sit": "sa"}
PLURAL = "k"  # of the target language, on every word of the sentence


def ngrams(text: str, n: int) -> Counter:
    """Return the character n-grams of a text with their counts; spaces count as characters."""
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))


def chrf(answer: str, target: str, order: int = 6, beta: float = 2.0) -> float:
    r"""Return chrF, the F-score of character n-grams (Popović 2015), in [0, 1].

    With precision $P$ and recall $R$ averaged over the orders 1 to `order` that the longer of the two texts has,
    $F = (1+\beta^2) PR / (\beta^2 P + R)$. The score of a text with itself is 1 (one character too), with the empty
    text 0.
    """
    orders = range(1, min(order, max(len(answer), len(target))) + 1)
    counts = [(ngrams(answer, n), ngrams(target, n)) for n in orders]
    matches = [(a & b).total() for a, b in counts]
    precision = sum(m / max(a.total(), 1) for m, (a, _) in zip(matches, counts, strict=True))
    recall = sum(m / max(b.total(), 1) for m, (_, b) in zip(matches, counts, strict=True))
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall) / len(orders)


def chrf_table(answers: list[str], targets: list[str], order: int = 6, beta: float = 2.0) -> np.ndarray:
    """Return `chrf` of each answer against each target, (targets, answers), from one count matrix."""
    grams = sorted({text[i : i + n] for text in targets for n in range(1, order + 1) for i in range(len(text) - n + 1)})
    orders = np.arange(1, order + 1)
    of_order = (np.array([len(gram) for gram in grams])[:, None] == orders).astype(float)
    counts = [_gram_counts(texts, grams, order) for texts in (answers, targets)]
    lengths = [np.array([len(text) for text in texts]) for texts in (answers, targets)]
    totals = [np.maximum(length[:, None] - orders + 1, 1) for length in lengths]
    scores = np.zeros((len(targets), len(answers)))
    for i in range(len(targets)):
        matches = np.minimum(counts[0], counts[1][i]) @ of_order
        used = np.maximum(np.minimum(np.maximum(lengths[0], lengths[1][i]), order), 1)
        precision, recall = (matches / totals[0]).sum(-1) / used, (matches / totals[1][i]).sum(-1) / used
        scores[i] = (1 + beta**2) * precision * recall / np.maximum(beta**2 * precision + recall, 1e-300)
    return scores


def _gram_counts(texts: list[str], grams: list[str], order: int) -> np.ndarray:
    counts = [sum((ngrams(text, n) for n in range(1, order + 1)), Counter()) for text in texts]
    return np.array([[count[gram] for gram in grams] for count in counts], dtype=float)


def exact_table(answers: list[str], targets: list[str]) -> np.ndarray:
    """Return 1.0 where the answer is the target, (targets, answers)."""
    return (np.array(targets)[:, None] == np.array(answers)).astype(float)


def sentences() -> dict[str, str]:
    """Return source sentence -> translation: [adjective] noun verb -> noun [adjective] verb, all agreeing in number."""
    pairs = {}
    for plural, adjective, noun, verb in product((False, True), ("", *ADJECTIVES), NOUNS, VERBS):
        source = [adjective, noun + "s" * plural, verb + "s" * (not plural)]
        target = [NOUNS[noun], ADJECTIVES.get(adjective, ""), VERBS[verb]]
        ending = PLURAL * plural
        pairs[" ".join(filter(None, source))] = " ".join(word + ending for word in target if word)
    return pairs


def lexicon(id: str, reward: str = "chrf") -> ExactMDP:
    r"""`translate/lexicon`: translate `red cats run` into `mik luk nek`; $H = 1$.

    The adjective follows its noun and every word takes the plural ending `k`. Actions: all sequences of one to three of
    the twelve word forms of the target language. Options: `reward="chrf"` (`chrf`) or `"sparse"` (exact match).
    """
    scorers = {"chrf": chrf_table, "sparse": exact_table}
    if reward not in scorers:
        raise ValueError(f"{id}: reward must be one of {sorted(scorers)}, got {reward!r}")
    pairs = sentences()
    stems = [*NOUNS.values(), *ADJECTIVES.values(), *VERBS.values()]
    forms = [stem + ending for stem in stems for ending in ("", PLURAL)]
    answers = [" ".join(words) for count in (1, 2, 3) for words in product(forms, repeat=count)]
    return one_step(id, list(pairs), answers, scorers[reward](answers, list(pairs.values())))


register("translate/lexicon", lexicon)
