r"""REINFORCE over decisions: reward-to-go, with a baseline that depends on the state in which the decision was made.

The state that an action answers is known before the action is drawn, so its baseline may depend on it, and on *other* episodes.
All tokens of one action share the return from that action on: the reward comes after the action's last token.
"""

from __future__ import annotations

import numpy as np

from minillm.estimators.advantages import to_go
from minillm.estimators.batch import Batch
from minillm.estimators.estimator import Estimator, register
from minillm.estimators.forms import constant
from minillm.estimators.reinforce import unbiased
from minillm.returns import advantages


def by_state(baseline: str = "leave_one_out") -> Estimator:
    r"""Return REINFORCE with $G_{ik}-b_{ik}$ for every token of decision k: the return from it on, minus a baseline of its state.

    With ``"leave_one_out"`` $b_{ik}$ is the mean of the returns from the same state in *other* episodes; where there are none, from
    all states of other episodes. ``"mean"`` has the own return in it and no objective; ``"none"`` is reward-to-go.
    """

    def advantage(batch: Batch) -> np.ndarray:
        turns = np.where(batch.mask, batch.turns, -1)
        before = np.concatenate([np.full((len(batch), 1), -1), np.maximum.accumulate(turns, axis=1)[:, :-1]], axis=1)
        episode, first = np.nonzero(turns > before)  # each decision's first token
        states = batch.groups[episode] if batch.states is None else batch.states[episode, first]
        decisions = np.zeros((len(batch), int(turns.max(initial=0)) + 1))
        if len(episode):
            decisions[episode, turns[episode, first]] = advantages(to_go(batch)[episode, first], states, baseline, episode)
        return np.take_along_axis(decisions, np.maximum(turns, 0), axis=1)

    return Estimator(
        f"state_{baseline}" if baseline != "leave_one_out" else "state_rloo",
        "no gradient of any function" if baseline == "mean" else "∇J",
        "c[i,t] = (G[i,k] − mean of G from the state of k in other episodes) / N, k the decision of t",
        "Williams 1992; Kool et al. 2019, eq. 8, for each state", *constant(advantage),
        factor=None if baseline == "mean" else unbiased, coupled=baseline != "none",
    )  # fmt: skip


STATE_RLOO = register(by_state())
