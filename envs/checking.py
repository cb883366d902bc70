r"""Checks that an environment keeps the protocol, and that its simulator is its table."""

from typing import Any

import numpy as np
from scipy.special import chdtrc

from envs.core import ResetNeeded, TextEnv, make
from envs.mdp import ExactMDP
from envs.vector import VectorEnv

LEVEL = 1e-6  # of the χ² test: a right simulator fails once in a million checks; seeds are fixed, so runs repeat
PAIRS, DRAWS = 200, 2000  # state-action pairs looked at, and draws for each pair with chance


class CheckFailed(AssertionError):
    """An environment breaks the protocol; the message says where."""


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise CheckFailed(message)


def check(env: Any) -> list[str]:
    """Check an id, an ExactMDP, or an environment with reset and step; return the names of the checks that passed.

    With a table: kernel, texts, simulator against kernel (exact without chance, χ² at level 1e-6 with it), aliasing.
    For every environment: protocol, seeding, render.

    Raises
    ------
    CheckFailed
        At the first thing that is wrong.
    """
    if isinstance(env, ExactMDP):
        env = TextEnv(env, 0)
    elif isinstance(env, str):
        env = make(env, 0)
    checks = [check_protocol, check_seeding, check_render]
    if isinstance(getattr(env, "mdp", None), ExactMDP):
        checks += [check_kernel, check_texts, check_simulator, check_aliasing]
    for run in checks:
        run(env)
    return [run.__name__.removeprefix("check_") for run in checks]


def check_protocol(env: Any) -> None:
    """Types of what reset and step return; wrong types and steps past the end raise; text never does."""
    obs, info = env.reset(seed=0)
    _require(isinstance(obs, str) and isinstance(info, dict), "reset must return (str, dict)")
    try:
        env.step(0)
    except TypeError:
        pass
    else:
        raise CheckFailed("step(0) must raise TypeError")
    for _ in range(10_000):
        returned: tuple = env.step("\ud800 no action\0")
        types = [str, float, bool, bool, dict]
        same = all(isinstance(x, t) for x, t in zip(returned, types, strict=True))
        _require(same, "step must return (str, float, bool, bool, dict)")
        _, _, terminated, truncated, _ = returned
        _require(not (terminated and truncated), "an end is a termination or a truncation, not both")
        if terminated or truncated:
            break
    else:
        return
    try:
        env.step("")
    except ResetNeeded:
        return
    raise CheckFailed("a step past the end must raise ResetNeeded")


def check_seeding(env: Any) -> None:
    """The same seed gives the same episodes, and the global random state is left alone."""
    before: Any = np.random.get_state()  # noqa: NPY002
    first = [env.reset(seed=3)[0]] + [env.reset()[0] for _ in range(5)]
    again = [env.reset(seed=3)[0]] + [env.reset()[0] for _ in range(5)]
    _require(first == again, "reset(seed=3) must begin the same stream again")
    after: Any = np.random.get_state()  # noqa: NPY002
    _require((before[1] == after[1]).all() and before[2] == after[2], "the global random state was used")


def check_render(env: Any) -> None:
    """Rendering gives text and changes nothing."""
    env.reset(seed=1)
    text = env.render()
    _require(isinstance(text, str) and text == env.render(), "render must return the same text twice")
    rendered = env.step("")[:4]
    env.reset(seed=1)
    _require(env.step("")[:4] == rendered, "render changed the environment")


def check_kernel(env: TextEnv) -> None:
    """Rows sum to one, terminal states absorb, `invalid` leaves the state unchanged at one reward."""
    mdp = env.mdp
    _require(np.allclose(mdp.probabilities.sum(-1), 1, rtol=0, atol=1e-12), "kernel rows must sum to one")
    stay = (mdp.successors[:, -1] == np.arange(len(mdp.state_texts))[:, None]) | (mdp.probabilities[:, -1] == 0)
    _require(stay.all(), "`invalid` must leave the state unchanged")
    _require(len(set(mdp.mean_rewards[~mdp.terminal, -1].tolist())) == 1, "`invalid` must have one cost")


def check_texts(env: TextEnv) -> None:
    """Texts and states are one-to-one, and so are strings and actions."""
    for texts in (env.mdp.state_texts.tolist(), env.mdp.action_texts.tolist()):
        _require(len(set(texts)) == len(texts), "two states or actions share a text")
        _require(all("\0" not in text for text in texts), "a text holds a NUL")


def _pairs(mdp: ExactMDP) -> np.ndarray:
    running = np.flatnonzero(~mdp.terminal)
    pairs = np.stack(np.meshgrid(running, np.arange(mdp.invalid + 1), indexing="ij"), -1).reshape(-1, 2)
    return pairs[:: max(1, len(pairs) // PAIRS)]


def check_simulator(env: TextEnv) -> None:
    """The outcomes of played steps have the kernel's law, in the vector form, for a spread of state-action pairs."""
    mdp, draws = env.mdp, DRAWS if env.mdp.successors.shape[-1] > 1 else 1
    texts = np.array([*mdp.action_texts.tolist(), max(mdp.action_texts.tolist(), key=len) + "!"])
    pairs = _pairs(mdp)
    vector = VectorEnv(mdp, len(pairs) * draws, 0, autoreset="disabled")
    states, actions = np.repeat(pairs, draws, axis=0).T
    vector.reset(options={"state": states})
    obs, rewards, *_ = vector.step(texts[actions])
    _require((obs == mdp.state_texts[vector.states]).all(), "an observation is not its state's text")
    shape = len(pairs), draws
    for (s, a), after, paid in zip(pairs, vector.states.reshape(shape), rewards.reshape(shape), strict=True):
        _check_law(mdp, s, a, after, paid)


def _check_law(mdp: ExactMDP, s: int, a: int, after: np.ndarray, paid: np.ndarray) -> None:
    law: dict[tuple[int, float], float] = {}
    for key, p in zip(zip(mdp.successors[s, a], mdp.rewards[s, a], strict=True), mdp.probabilities[s, a], strict=True):
        law[key] = law.get(key, 0.0) + p
    law = {key: p for key, p in law.items() if p > 0}
    counts = np.array([((after == state) & (paid == reward)).sum() for state, reward in law])
    _require(counts.sum() == len(after), f"state {s}, action {a}: an outcome is not in the kernel")
    expected = np.array(list(law.values())) * len(after)
    statistic = ((counts - expected) ** 2 / expected).sum()
    if len(counts) > 1:
        p_value = chdtrc(len(counts) - 1, statistic)
        _require(p_value > LEVEL, f"state {s}, action {a}: frequencies differ from the kernel (p = {p_value:.1e})")


def check_aliasing(env: TextEnv) -> None:
    """Writing into returned arrays changes nothing, and an observation kept by the caller never changes."""
    vector = VectorEnv(env.mdp, 8, 0)
    obs, _ = vector.reset()
    kept, states = obs.copy(), vector.states.copy()
    vector.states[:] = -5
    _require((vector.states == states).all(), "`states` is the environment's own array")
    for array in vector.step([""] * 8)[:4]:
        array[...] = np.zeros((), array.dtype)
    _require((obs == kept).all(), "an observation changed after it was returned")
    fresh = VectorEnv(env.mdp, 8, 0)
    fresh.reset(options={"state": states})
    fresh.step([""] * 8)
    _require((fresh.states == vector.states).all(), "a returned array is the environment's own")
