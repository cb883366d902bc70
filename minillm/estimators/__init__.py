r"""Policy-gradient estimators: from a batch of episodes to one coefficient a token, and what each one estimates."""

from minillm.estimators.batch import Batch
from minillm.estimators.combining import named
from minillm.estimators.estimator import ESTIMATORS, Estimator, register

from minillm.estimators import actor_critic, by_state, clipped, cloning, entropy, importance, kl, reinforce  # noqa: F401  isort: skip

__all__ = ["ESTIMATORS", "Batch", "Estimator", "named", "register"]
