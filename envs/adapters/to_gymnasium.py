"""Our environments as Gymnasium's."""

from typing import Any

import numpy as np

from envs.adapters.extras import need
from envs.core import TextEnv, ids, make
from envs.mdp import ExactMDP
from envs.vector import VectorEnv


def _text_space(gymnasium: Any, texts: np.ndarray) -> Any:
    charset = frozenset("".join(texts.tolist())) or frozenset("?")
    return gymnasium.spaces.Text(max(map(len, texts.tolist())), min_length=0, charset=charset)


def _action_space(gymnasium: Any, mdp: ExactMDP, actions: str) -> Any:
    if actions not in ("text", "discrete"):
        raise ValueError(f"actions must be 'text' or 'discrete', got {actions!r}")
    return _text_space(gymnasium, mdp.action_texts) if actions == "text" else gymnasium.spaces.Discrete(mdp.invalid)


def to_gymnasium(env: TextEnv, actions: str = "text") -> Any:
    """Return a `gymnasium.Env` with Text observations, and Text or Discrete actions (index into `action_texts`).

    A reset with a seed seeds the table's own counter-based stream. The single step of a one-step task ends by
    termination even where the answer is invalid, since there the limit of time belongs to the task.
    """
    gymnasium = need("gymnasium", "gym")
    base: Any = gymnasium.Env
    texts = env.mdp.action_texts.tolist()

    class Adapted(base):
        """A table played through `gymnasium.Env`."""

        metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012
        observation_space = _text_space(gymnasium, env.mdp.state_texts)
        action_space = _action_space(gymnasium, env.mdp, actions)
        render_mode = "ansi"

        def reset(self, *, seed=None, options=None):
            """Begin an episode."""
            super().reset(seed=seed)
            return env.reset(seed=seed, options=options)

        def step(self, action):
            """Play a string, or the number of one."""
            obs, reward, terminated, truncated, info = env.step(texts[action] if actions == "discrete" else action)
            if env.mdp.horizon == 1:
                terminated, truncated = True, False
            return obs, reward, terminated, truncated, info

        def render(self):
            """Return the state's text."""
            return env.render()

    return Adapted()


def to_gymnasium_vector(env: VectorEnv, actions: str = "text") -> Any:
    """Return a `gymnasium.vector.VectorEnv`; observations are tuples of strings, as Gymnasium batches Text spaces."""
    gymnasium = need("gymnasium", "gym")
    base: Any = gymnasium.vector.VectorEnv
    batch = gymnasium.vector.utils.batch_space
    modes = gymnasium.vector.AutoresetMode

    class AdaptedVector(base):
        """N copies of a table played through `gymnasium.vector.VectorEnv`."""

        metadata = {"autoreset_mode": modes[env.autoreset.upper()]}  # noqa: RUF012
        num_envs = env.n
        single_observation_space = _text_space(gymnasium, env.mdp.state_texts)
        single_action_space = _action_space(gymnasium, env.mdp, actions)
        observation_space = batch(single_observation_space, env.n)
        action_space = batch(single_action_space, env.n)

        def reset(self, *, seed=None, options=None):
            """Begin episodes; options as in `VectorEnv.reset`."""
            obs, info = env.reset(seed=seed, options=options)
            return tuple(obs.tolist()), info

        def step(self, actions_):
            """Play one string, or the number of one, a row."""
            chosen = env.mdp.action_texts[actions_] if actions == "discrete" else list(actions_)
            obs, *rest = env.step(chosen)
            return (tuple(obs.tolist()), *rest)

    return AdaptedVector()


def register_gymnasium() -> list[str]:
    """Register every default instance with Gymnasium, as `minillm/grid-empty-5-v0`; return the names."""
    gymnasium = need("gymnasium", "gym")
    names = {f"minillm/{id.replace('/', '-')}-v0": id for id in ids()}
    for name, id in names.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=_entry_point(id))
    return list(names)


def _entry_point(id: str) -> Any:
    def create(actions: str = "text", render_mode: str | None = None, **options: Any) -> Any:
        """Make the environment, as `gymnasium.make` asks for it."""
        return to_gymnasium(make(id, **options), actions)

    return create
