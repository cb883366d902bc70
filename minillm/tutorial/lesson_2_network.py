# %% [markdown]
# # A network is functions one after the other
#
# An *operation* is a pair: a forward that returns its output and what it keeps (the cache), and a backward that takes
# $\bar y = \partial L/\partial y$ and the cache and returns $\bar x$. `minillm.ops` has one a file, with the derivation beside the code.
# A network's backward is the backwards of its operations in reverse order.

# %%
import numpy as np

from minillm.lab import check_gradient
from minillm.ops import gelu_new, gelu_new_backward, layernorm, layernorm_backward, linear, linear_backward

rng = np.random.default_rng(0)
N, C, W = 5, 4, 8  # rows, width, width inside
x, goal = rng.normal(size=(2, N, C))
theta = {
    "gain": 1 + 0.3 * rng.normal(size=C), "shift": 0.3 * rng.normal(size=C),
    "in": 0.5 * rng.normal(size=(C, W)), "in_bias": 0.5 * rng.normal(size=W),
    "out": 0.5 * rng.normal(size=(W, C)), "out_bias": 0.5 * rng.normal(size=C),
}  # fmt: skip

# %% [markdown]
# Half a block of a transformer: $y = x + \mathrm{MLP}(\mathrm{LN}(x))$, loss $L = \frac12\sum (y - t)^2$.


# %%
def forward(p, x):
    normal, ln = layernorm(x, p["gain"], p["shift"], 1e-5)
    u, first = linear(normal, p["in"], p["in_bias"])
    bent, act = gelu_new(u)
    out, last = linear(bent, p["out"], p["out_bias"])
    return x + out, (ln, first, act, last)


def backward(dy, caches):
    ln, first, act, last = caches
    g = {}
    dbent, g["out"], g["out_bias"] = linear_backward(dy, last)
    du = gelu_new_backward(dbent, act)
    dnormal, g["in"], g["in_bias"] = linear_backward(du, first)
    dx, g["gain"], g["shift"] = layernorm_backward(dnormal, ln)
    return dx + dy, g  # x was used twice, so two gradients add


def loss(p):
    p = {name: a.astype(np.result_type(*p.values())) for name, a in p.items()}
    y, _ = forward(p, x.astype(p["in"].dtype))
    return ((y - goal) ** 2).sum() / 2


def gradient(p):
    y, caches = forward(p, x)
    return backward(y - goal, caches)[1]


print(check_gradient(loss, gradient, theta))

# %% [markdown]
# Three rules explain every line of a backward. A value used *twice* (here $x$) collects a *sum*. A parameter used by *every row*
# collects a sum over rows, never a mean. What does not change the output has gradient *zero*: LayerNorm takes the mean away,
# so adding a constant to a row changes nothing, and each row of its $\bar x$ sums to zero:

# %%
y, caches = forward(theta, x)
dnormal = linear_backward(gelu_new_backward(linear_backward(y - goal, caches[3])[0], caches[2]), caches[1])[0]
print("row sums of dx of LayerNorm", np.abs(layernorm_backward(dnormal, caches[0])[0].sum(axis=1)).max())
