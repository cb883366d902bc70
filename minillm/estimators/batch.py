r"""What an estimator may look at: N episodes laid out as T token positions each."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Batch:
    r"""N episodes of T token positions, as arrays; every array of shape (N, T) is looked at only where ``mask`` holds.

    Attributes
    ----------
    log_probs : ndarray of shape (N, T)
        $\ell_{it} = \log\pi_\theta(b_{it}\mid\cdot)$ of the tokens taken, of any float or complex dtype.
    mask : bool ndarray of shape (N, T)
        Tokens that the policy sampled, the stop token among them. Observations and padding are False. It comes from what was
        sampled, never from token ids.
    rewards : ndarray of shape (N, T)
        The reward that came after each token; that of a whole episode stands at its last token.
    groups : integer ndarray of shape (N,)
        Label of the prompt (the start) that an episode answers.
    turns : integer ndarray of shape (N, T)
        Number of the decision (the action) within the episode that each token belongs to, from 0; −1 off the mask.
    old_log_probs : ndarray of shape (N, T), optional
        Under the policy that sampled them, by the same distribution (temperature, top-k, top-p, masks); ``log_probs`` when None.
    ref_log_probs : ndarray of shape (N, T), optional
        Under a reference policy.
    values : ndarray of shape (N, T), optional
        A learned $V$ before each token.
    last_values : ndarray of shape (N,), optional
        $V$ after the last token of an episode that was cut short; 0 for those that ended. Zeros when None.
    full_log_probs, full_ref_log_probs : ndarray of shape (N, T, V), optional
        Log-probabilities of the whole vocabulary, for dense forms.
    q : ndarray of shape (N, T, V), optional
        Exact or learned action values $Q(\text{context}, v)$, for the all-action form.
    score_norms : ndarray of shape (N,), optional
        $\|\nabla\log p(b_i)\|^2$, for the optimal baseline.
    """

    log_probs: np.ndarray
    mask: np.ndarray
    rewards: np.ndarray
    groups: np.ndarray
    turns: np.ndarray
    old_log_probs: np.ndarray | None = None
    ref_log_probs: np.ndarray | None = None
    values: np.ndarray | None = None
    last_values: np.ndarray | None = None
    full_log_probs: np.ndarray | None = None
    full_ref_log_probs: np.ndarray | None = None
    q: np.ndarray | None = None
    score_norms: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def old(self) -> np.ndarray:
        """Log-probabilities under the policy that sampled: ``old_log_probs``, or ``log_probs``."""
        return self.log_probs if self.old_log_probs is None else self.old_log_probs

    def total_rewards(self) -> np.ndarray:
        """Return the sum of rewards of each episode (N,)."""
        return np.where(self.mask, self.rewards, 0).sum(axis=-1)
