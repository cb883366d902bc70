r"""A bandit whose arms are strings: the whole outcome set can be written down."""

import numpy as np

from envs.core import register
from envs.mdp import ExactMDP
from envs.rng import stream_keys, uniforms
from envs.tables import one_step, strings_up_to

PROMPT = "?"  # not empty: a language model needs one character to condition on
MAX_STRINGS = 1_000_000
WORD = 0  # the 64-bit word under which the rewards are drawn, the same for every V and L


def bandit(id: str, V: int, L: int) -> ExactMDP:
    r"""`text/bandit-V-L`: one step; the actions are all strings of 0 to L of the first V letters.

    String number $i$ (short strings first, then alphabetically) is paid $r_i = u_{i,0} \in [0, 1)$ of the counter-based
    generator (`envs.rng`, word 0), anything else 0, so that exactly $J = \sum_i r_i \, p(b_i)$.
    """
    if not 1 <= V <= 26:
        raise ValueError(f"{id}: the number of letters must be 1 to 26, got {V}")
    if sum(V**length for length in range(L + 1)) > MAX_STRINGS:
        raise ValueError(f"{id}: more than {MAX_STRINGS} strings")
    strings = strings_up_to("abcdefghijklmnopqrstuvwxyz"[:V], L)
    rewards = uniforms(stream_keys(WORD, np.arange(len(strings))), np.zeros(1, dtype=np.uint64))
    return one_step(id, [PROMPT], strings, rewards[None])


register("text/bandit-{V}-{L}", bandit, ("text/bandit-3-3",))
