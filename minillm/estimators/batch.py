r"""What an estimator may look at: N episodes laid out as T token positions each."""

from __future__ import annotations

import dataclasses

import numpy as np

from minillm.errors import UserError

PER_EPISODE = ("groups", "last_values", "score_norms")
PER_VOCABULARY = ("full_log_probs", "full_ref_log_probs", "q")


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
    states : integer ndarray of shape (N, T), optional
        Label of the state (the text) in which each token's decision was made, for baselines by state; ``groups`` when None.
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
    states: np.ndarray | None = None

    def __post_init__(self) -> None:
        N, T = self.mask.shape
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            wanted: tuple = (N,) if field.name in PER_EPISODE else (N, T)
            wanted += value.shape[2:] if field.name in PER_VOCABULARY else ()
            if value.shape != wanted or (field.name in PER_VOCABULARY and value.ndim != 3):
                raise UserError(f"{field.name} must have shape {_shape_name(field.name)} with (N, T) = {N, T}, got {value.shape}")

    def __len__(self) -> int:
        return len(self.mask)

    def given(self, name: str) -> np.ndarray:
        """Return the field ``name`` with 0 off the mask (selected, so what stands there need not be finite).

        Raises
        ------
        UserError
            If the batch does not have it.
        """
        value = getattr(self, name)
        if value is None:
            raise UserError(f"this estimator needs {name}, which the batch does not have")
        return value if name in PER_EPISODE else np.where(self.mask.reshape(self.mask.shape + (1,) * (value.ndim - 2)), value, 0)

    @property
    def old(self) -> np.ndarray:
        """Log-probabilities under the policy that sampled, a constant: ``old_log_probs``, or the value of ``log_probs``."""
        return self.log_probs.real if self.old_log_probs is None else self.old_log_probs

    def log_ratio(self) -> np.ndarray:
        r"""Return $\log\pi_\theta/\pi_{old}$ of each token (N, T), 0 off the mask; exactly 0 where the two are equal."""
        return self.given("log_probs") - np.where(self.mask, self.old, 0)

    def ref_log_ratio(self) -> np.ndarray:
        r"""Return $\log\pi_\theta/\pi_{ref}$ of each token (N, T), 0 off the mask."""
        return self.given("log_probs") - self.given("ref_log_probs")

    def lengths(self) -> np.ndarray:
        """Return the number of sampled tokens of each episode (N,)."""
        return self.mask.sum(axis=-1)

    def episode_sums(self, x: np.ndarray) -> np.ndarray:
        """Return the sums of x (N, T) over the sampled tokens of each episode (N,).

        Added one after another, so that tokens of the mask's other side in between change no bit (``sum`` adds in pairs).
        """
        start = np.zeros((len(x), 1), x.dtype)
        return np.add.accumulate(np.concatenate([start, np.where(self.mask, x, 0)], axis=1), axis=1)[:, -1]

    def total_rewards(self) -> np.ndarray:
        """Return the sum of rewards of each episode (N,)."""
        return self.episode_sums(self.rewards)


def _shape_name(field: str) -> str:
    return "(N,)" if field in PER_EPISODE else "(N, T, V)" if field in PER_VOCABULARY else "(N, T)"
