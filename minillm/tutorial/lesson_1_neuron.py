# %% [markdown]
# # One neuron's gradient
#
# A neuron takes inputs $x$, weights $w$ and a shift $b$ and gives $y = \tanh(u)$ with $u = \sum_i w_i x_i + b$. How far it is from
# a target $t$ we measure by the loss $L = (y - t)^2$. Learning is: move $w$ and $b$ so that $L$ falls.

# %%
import numpy as np

from minillm.lab import check_gradient
from minillm.lab.differentiate import complex_step

x, target = np.array([1.0, -2.0, 0.5]), 0.3
start = {"w": np.array([0.2, 0.1, -0.4]), "b": np.array(0.1)}


def loss(p):
    return (np.tanh(p["w"] @ x + p["b"]) - target) ** 2


print("loss", loss(start))

# %% [markdown]
# **Backward.** Write $\bar a$ for $\partial L/\partial a$. The chain rule goes through the same lines in reverse order:
# $\bar y = 2(y - t)$, then $\bar u = \bar y\,(1 - y^2)$ because $\tanh' = 1 - \tanh^2$, and last $\bar w_i = \bar u\,x_i$, $\bar b = \bar u$.


# %%
def gradient(p):
    y = np.tanh(p["w"] @ x + p["b"])
    dy = 2 * (y - target)
    du = dy * (1 - y * y)
    return {"w": du * x, "b": du}


print("gradient", gradient(start))

# %% [markdown]
# **Is it right?** A difference $(L(w+h) - L(w-h))/2h$ is never exact: with a large $h$ it bends, with a small one the digits
# cancel. Step in the *imaginary* direction instead: $L(w + ih) = L(w) + ih\,L'(w) - \dots$, so $\operatorname{Im} L(w+ih)/h$ is
# the derivative, and nothing is subtracted. $h = 10^{-20}$ then gives all digits.

# %%
along_first = complex_step(lambda w: loss({"w": w, "b": start["b"]}), start["w"], np.array([1.0, 0, 0]))
print("complex step", along_first, "  backward", gradient(start)["w"][0])
print(check_gradient(loss, gradient, start))


# %% [markdown]
# A wrong gradient often learns, too, only worse; so it must be *checked*, not watched. Forget the 2, say:


# %%
def forgetful(p):
    return {name: g / 2 for name, g in gradient(p).items()}


print(check_gradient(loss, forgetful, start))

# %% [markdown]
# **Learning** is a step against the gradient, again and again: $w \leftarrow w - \eta\,\bar w$.

# %%
p = {name: value.copy() for name, value in start.items()}
for step in range(41):
    if step % 10 == 0:
        print(f"step {step:2}  loss {loss(p):.2e}")
    p = {name: p[name] - 0.02 * g for name, g in gradient(p).items()}
