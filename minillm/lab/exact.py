r"""$J(\theta)$ and $\nabla J(\theta)$ of a language model in an :class:`envs.ExactMDP`, with no sampling.

The policy over the valid strings is $\pi(a\mid s) = \prod_t p(a_t \mid s, a_{<t})$, end token included; every other string is the outcome
``invalid`` with the chance that is left. The table gives $J$ and $\partial J/\partial\pi(a\mid s)$ by dynamic programming, and then

$$\nabla J = \sum_{s,a} \frac{\partial J}{\partial\pi(a\mid s)}\,\pi(a\mid s)\,\nabla\log\pi(a\mid s),$$

one backward pass with the coefficients $c_{sa} = \pi\,\partial J/\partial\pi$. Both functions run in complex numbers, so
$\operatorname{Im} J(\theta+ihv)/h$ checks ∇J and $\operatorname{Im}\nabla J(\theta+ihv)/h$ is an exact Hessian–vector product of J.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.objectives import IGNORE, token_log_probs, weighted_log_likelihood
from minillm.tokenizer import CharTokenizer
from minillm.training import decision_ids
from minillm.transformer import GPT


def expected_return(model: GPT, tokenizer: CharTokenizer, mdp: Any) -> np.generic:
    """Return J, the expected sum of rewards of an episode, in the model's dtype."""
    ids, at, targets = _decisions(tokenizer, mdp)
    logits, _ = model.forward(ids, at=at, keep=False)
    return mdp.value(_policy(mdp, logits, targets))


def expected_return_gradient(model: GPT, tokenizer: CharTokenizer, mdp: Any) -> tuple[np.generic, np.ndarray]:
    """Return J and ∇J of shape (P,), in the model's dtype.

    Parameters
    ----------
    model : GPT
    tokenizer : CharTokenizer
    mdp : envs.ExactMDP
        Every pair of a state before the end and a valid action is read in one batch: a table for small worlds.
    """
    ids, at, targets = _decisions(tokenizer, mdp)
    logits, cache = model.forward(ids, at=at)
    policy = _policy(mdp, logits, targets)
    coefficients = (policy * mdp.gradient(policy))[~mdp.terminal].reshape(-1, 1)
    _, dlogits = weighted_log_likelihood(logits, targets, coefficients)
    return mdp.value(policy), model.backward(dlogits, cache)


def _decisions(tokenizer: CharTokenizer, mdp: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every state before the end with every action, as :func:`minillm.training.decision_ids` gives them."""
    actions, lengths = tokenizer.encode_batch(mdp.action_texts)
    ended = np.pad(actions, ((0, 0), (0, 1))).astype(np.int64)
    columns = np.arange(ended.shape[1])
    ended[columns == lengths[:, None]] = tokenizer.eos_token_id
    ended[columns > lengths[:, None]] = IGNORE
    states = mdp.state_texts[~mdp.terminal]
    return decision_ids(tokenizer, np.repeat(states, len(actions)), np.tile(ended, (len(states), 1)))


def _policy(mdp: Any, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The policy (S, A) from the logits of all decisions; zero in terminal states."""
    policy = np.zeros((len(mdp.state_texts), mdp.invalid), logits.dtype)
    policy[~mdp.terminal] = np.exp(token_log_probs(logits, targets).sum(axis=-1)).reshape(-1, mdp.invalid)
    return policy
