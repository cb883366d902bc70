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
from minillm.tokenizer import Tokenizer
from minillm.transformer import GPT


def expected_return(model: GPT, tokenizer: Tokenizer, mdp: Any) -> np.generic:
    """Return J, the expected sum of rewards of an episode, in the model's dtype."""
    ids, at, targets = _decisions(tokenizer, mdp)
    logits, _ = model.forward(ids, at=at, keep=False)
    return mdp.value(_policy(mdp, logits, targets))


def expected_return_gradient(model: GPT, tokenizer: Tokenizer, mdp: Any) -> tuple[np.generic, np.ndarray]:
    """Return J and ∇J of shape (P,), in the model's dtype.

    Parameters
    ----------
    model : GPT
    tokenizer : Tokenizer
    mdp : envs.ExactMDP
        Every pair of a state before the end and a valid action is read in one batch: a table for small worlds.
    """
    ids, at, targets = _decisions(tokenizer, mdp)
    logits, cache = model.forward(ids, at=at)
    policy = _policy(mdp, logits, targets)
    coefficients = (policy * mdp.gradient(policy))[~mdp.terminal].reshape(-1, 1)
    _, dlogits = weighted_log_likelihood(logits, targets, coefficients)
    return mdp.value(policy), model.backward(dlogits, cache)


def _decisions(tokenizer: Tokenizer, mdp: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every state before the end with every action, a row each: ids (M, T); at which columns which targets (M, L) follow."""
    eos = tokenizer.eos_token_id
    prompts, lengths = tokenizer.encode_prompts(mdp.state_texts[~mdp.terminal])
    actions, action_lengths = tokenizer.encode_batch(mdp.action_texts)
    s, a = np.divmod(np.arange(len(prompts) * len(actions)), len(actions))
    columns = np.arange(actions.shape[1] + 1)
    at = lengths[s, None] - 1 + columns  # the logits at the prompt's end token predict the action's first token
    ids = np.pad(prompts, ((0, 0), (0, actions.shape[1])), constant_values=eos).astype(np.int64)[s]
    np.put_along_axis(ids, at[:, 1:], actions[a], axis=1)
    ended = np.pad(actions, ((0, 0), (0, 1)), constant_values=eos)
    return ids, at, np.where(columns <= action_lengths[:, None], ended, IGNORE)[a]


def _policy(mdp: Any, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The policy (S, A) from the logits of all decisions; zero in terminal states."""
    policy = np.zeros((len(mdp.state_texts), mdp.invalid), logits.dtype)
    policy[~mdp.terminal] = np.exp(token_log_probs(logits, targets).sum(axis=-1)).reshape(-1, mdp.invalid)
    return policy


def bed_return_gradient(bed: Any, log_pi: np.ndarray) -> tuple[np.generic, np.ndarray]:
    r"""Return J and $W_{kv} = \partial J/\partial\log\pi(v\mid k)$, (K·V,), by dynamic programming over a bed's table.

    The other way is the sum over all episodes (:class:`minillm.lab.setting.Setting`); $\nabla J = W S$ with its scores S.

    Parameters
    ----------
    bed : minillm.lab.beds.Bed
    log_pi : ndarray of shape (K, V)
        Log-probabilities of the tokens in each context.
    """
    taken = bed.decisions >= 0
    policy = np.exp(np.where(taken, log_pi.reshape(-1)[bed.decisions], 0).sum(axis=-1))
    policy[bed.mdp.terminal] = 0
    coefficients = np.broadcast_to((policy * bed.mdp.gradient(policy))[..., None], taken.shape)
    W = np.zeros(log_pi.size, log_pi.dtype)
    np.add.at(W, bed.decisions[taken], coefficients[taken])
    return bed.mdp.value(policy), W
