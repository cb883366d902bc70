"""The same GPT written the usual way in JAX: a pure function of a dict of arrays, differentiated and compiled by ``jit``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from benchmarks.steps import Task
    from minillm import GPT, GPTConfig

Params = dict[str, jax.Array]
BETA_1, BETA_2, EPSILON, DECAY = 0.9, 0.999, 1e-8, 0.01


def layer_norm(x: jax.Array, theta: Params, name: str, eps: float) -> jax.Array:
    """Normalise the last axis, then scale and shift."""
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + eps) * theta[name + ".weight"] + theta[name + ".bias"]


def linear(x: jax.Array, theta: Params, name: str) -> jax.Array:
    """x W + b, W stored (in, out)."""
    return x @ theta[name + ".weight"] + theta[name + ".bias"]


def forward(theta: Params, ids: jax.Array, config: GPTConfig) -> jax.Array:
    """Return the logits (B, T, V)."""
    B, T = ids.shape
    eps = config.layer_norm_epsilon
    h = theta["wte.weight"][ids] + theta["wpe.weight"][:T]
    for layer in range(config.n_layer):
        name = f"h.{layer}."
        qkv = linear(layer_norm(h, theta, name + "ln_1", eps), theta, name + "attn.c_attn")
        q, k, v = (x.reshape(B, T, config.n_head, -1) for x in jnp.split(qkv, 3, axis=-1))
        o = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        h = h + linear(o.reshape(B, T, -1), theta, name + "attn.c_proj")
        u = linear(layer_norm(h, theta, name + "ln_2", eps), theta, name + "mlp.c_fc")
        h = h + linear(jax.nn.gelu(u, approximate=True), theta, name + "mlp.c_proj")
    return layer_norm(h, theta, "ln_f", eps) @ theta["wte.weight"].T


def log_probs(theta: Params, ids: jax.Array, targets: jax.Array, config: GPTConfig) -> jax.Array:
    """Return the targets' log-probabilities (B, T)."""
    log_p = jax.nn.log_softmax(forward(theta, ids, config))
    return jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]


def loss(theta: Params, ids: jax.Array, targets: jax.Array, weights: jax.Array | None, config: GPTConfig) -> jax.Array:
    """Return −Σ w·log p; the mean of −log p when there are no weights."""
    each = log_probs(theta, ids, targets, config)
    return -each.mean() if weights is None else -(weights * each).sum()


def adamw(theta: Params, gradient: Params, moments: tuple[Params, Params], t: jax.Array, lr: float) -> tuple[Params, tuple]:
    """Return θ and the moments after a step; matrices decay."""
    m = {name: BETA_1 * moments[0][name] + (1 - BETA_1) * g for name, g in gradient.items()}
    v = {name: BETA_2 * moments[1][name] + (1 - BETA_2) * g * g for name, g in gradient.items()}

    def moved(name: str) -> jax.Array:
        update = m[name] / (1 - BETA_1**t) / (jnp.sqrt(v[name] / (1 - BETA_2**t)) + EPSILON)
        return theta[name] * (1 - lr * DECAY * (theta[name].ndim > 1)) - lr * update

    return {name: moved(name) for name in theta}, (m, v)


@partial(jax.jit, static_argnames=("config", "lr"), donate_argnums=(0, 1))
def train_step(
    theta: Params, moments: tuple[Params, Params], t: jax.Array, batch: tuple, config: GPTConfig, lr: float
) -> tuple[Params, tuple, jax.Array]:
    """Return θ and the moments after a step, and the loss before it."""
    value, gradient = jax.value_and_grad(loss)(theta, *batch, config)
    return *adamw(theta, gradient, moments, t, lr), value


def from_ours(model: GPT) -> Params:
    """Return copies of our parameters, in our layout."""
    return {name: jnp.array(view) for name, view in model.parameters.items()}


class Step:
    """A training step from our parameters: forward, loss, backward, AdamW, one compiled function."""

    def __init__(self, model: GPT, task: Task) -> None:
        self.config, self.lr, self.t = model.config, task.lr, 0
        self.theta = from_ours(model)
        self.moments: Any = tuple({name: jnp.zeros_like(x) for name, x in self.theta.items()} for _ in range(2))
        self.batch = tuple(None if x is None else jnp.asarray(x) for x in (task.ids, task.targets, task.weights))

    def gradient(self) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient in our layout."""
        value, gradient = jax.jit(jax.value_and_grad(loss), static_argnames="config")(self.theta, *self.batch, config=self.config)
        return float(value), np.concatenate([np.asarray(gradient[name]).ravel() for name in self.theta])

    def step(self) -> float:
        """Take a step; return the loss before it."""
        self.t += 1
        self.theta, self.moments, value = train_step(self.theta, self.moments, jnp.float32(self.t), self.batch, self.config, self.lr)
        return float(jax.block_until_ready((value, self.theta))[0])
