# %% [markdown]
# # The gradient of a reward
#
# Now nobody says what the right action is; there is only a reward $r(b)$ for the action $b$ that was written. What is to grow is
# the expected reward $J(\theta) = \sum_b p(b;\theta)\,r(b)$. Three actions are enough to see everything.

# %%
import itertools

import numpy as np

from minillm.objectives import expected_reward, reinforce
from minillm.ops import log_softmax

r = np.array([1.0, 0.0, 0.4])
theta = np.array([0.3, -0.2, 0.5])  # the logits themselves
actions = np.arange(3)


def logits(n):
    return np.broadcast_to(theta, (n, 1, 3))


p = np.exp(log_softmax(theta)[0])
J, by_action = expected_reward(logits(3), actions[:, None], r)
exact = by_action.sum(axis=(0, 1))
print("p", p.round(4), " J", J.round(4), " exact gradient", exact.round(4))

# %% [markdown]
# **REINFORCE.** The sum over all actions is too long for texts. But $\nabla p = p\,\nabla\log p$, so $\nabla J = \sum_b p\,r\,\nabla\log p =
# E[r\,\nabla\log p(b)]$: a mean over actions that are *sampled*. Here it is for 8 of them, and the exact mean over all samples of 2.


# %%
def estimate(sample, baseline):
    sample = np.asarray(sample)
    return reinforce(logits(len(sample)), sample[:, None], r[sample], baseline)


def mean_and_variance(baseline):
    pairs = list(itertools.product(range(3), repeat=2))
    chance = np.array([p[list(pair)].prod() for pair in pairs])
    g = np.array([estimate(pair, baseline)[1].sum(axis=(0, 1)) for pair in pairs])
    mean = chance @ g
    return mean, chance @ ((g - mean) ** 2).sum(axis=1)


sample = np.random.default_rng(0).choice(3, size=8, p=p)
print("from 8 actions  ", estimate(sample, "none")[1].sum(axis=(0, 1)).round(4))
for name in ("none", "leave_one_out", "mean"):
    mean, variance = mean_and_variance(name)
    print(f"baseline {name:13} mean {mean.round(4)}  of the exact {mean[0] / exact[0]:.3f}  variance {variance:.4f}")

# %% [markdown]
# **A baseline** $b$ that does not depend on the action changes no mean, because $E[\nabla\log p] = \sum\nabla p = \nabla 1 = 0$. The mean
# of the *others* (leave-one-out) is one; a mean with the own reward in it makes the gradient shorter by $1 - 1/G$, here a half.
#
# **The printed loss means nothing.** For a uniform policy it is zero, though the policy is bad and the gradient is not zero:

# %%
theta = np.zeros(3)
value, dlogits = estimate([0, 1, 2, 1], "leave_one_out")
print(f"value {value + 0.0:.1f}, J {r.mean():.3f} of at most {r.max():.3f}, gradient {dlogits.sum(axis=(0, 1)).round(4)}")
