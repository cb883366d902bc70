r"""The method in four steps: **collect** experience, **fit** the language model to it, **act**, **improve** by the reward.

    experience = collect(environments, uniform_policy(tokenizer, actions), episodes=512)
    fit(model, tokenizer, experience)                                # maximum likelihood: the language of the environment
    while learning:
        experience = collect(environments, agent.act, episodes=256)  # act: the policy is now the language model
        improve(model, tokenizer, experience, optimizer)             # one step along the estimated ∇J

Here is the step from $J(\theta) = \sum_i r_i\,p(b_i;\theta)$, a sum over whole episodes i, to what :func:`improve` computes. An
episode's probability is a product of the environment's chances, free of θ, and the policy's $\prod_t p(a_{it}\mid s_{it})$. So
$\nabla p_i = p_i\sum_t\nabla\log p(a_{it}\mid s_{it})$, and with N episodes *sampled* from p

$$\nabla J \approx \frac1N\sum_{i}\sum_t (G_{it} - b_{it})\,\nabla\log p(a_{it}\mid s_{it}),$$

where $G_{it}$, the reward from t on, may stand for $r_i$, since earlier rewards do not depend on later actions, and any $b_{it}$
that does not depend on $a_{it}$ may be subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minillm.agent import Choice
from minillm.batches import Layout, token_batch
from minillm.estimators import Estimator
from minillm.estimators.advantages import to_go
from minillm.estimators.by_state import STATE_RLOO, by_state
from minillm.evidence import Evidence, require_needs, value_slope
from minillm.experience import Experience, widened
from minillm.gradients import likelihood_gradient
from minillm.objectives import IGNORE
from minillm.optimizers import AdamW, clip_by_global_norm, require_finite_update, warmup_cosine
from minillm.sampling import PLAIN, Sampling
from minillm.scoring import policy_gradient
from minillm.threads import parallel_map
from minillm.tokenizer import Tokenizer, ended
from minillm.transcripts import Transcripts
from minillm.transformer import GPT

Policy = Callable[[np.ndarray], Choice]


def uniform_policy(tokenizer: Tokenizer, actions: Sequence[str] | np.ndarray, rng: Any) -> Policy:
    """Return a policy that draws each of the A action texts with probability 1/A, whatever the state.

    A token's log-probability is that of the texts that go on with it, among those that begin as it does.
    """
    rng = np.random.default_rng(rng)
    texts = np.asarray(actions)
    ids, lengths = ended(*tokenizer.encode_batch(texts), tokenizer.eos_token_id)
    ids = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, IGNORE).astype(np.int64)
    alike = np.stack([_multiplicity(ids[:, :length]) for length in range(ids.shape[1] + 1)], axis=1)
    log_probs = np.diff(np.log(alike), axis=1) * (ids != IGNORE)

    def policy(states: np.ndarray) -> Choice:
        index = rng.integers(len(texts), size=len(states))
        return Choice(texts[index], ids[index], log_probs[index])

    return policy


def _multiplicity(rows: np.ndarray) -> np.ndarray:
    """How often each row occurs."""
    _, inverse, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return counts[inverse.reshape(-1)]


def collect(environments: Any, policy: Policy, group: int = 1) -> Experience:
    """Play one whole episode in each of N environments, all at once.

    Parameters
    ----------
    environments : envs.VectorEnv with ``autoreset="disabled"``
    policy : callable, N state texts → Choice
        For example ``agent.act``.
    group : int
        Episodes come in groups of this size that share their start; a divisor of N.

    Returns
    -------
    Experience with N episodes
    """
    states, _ = environments.reset(options={"group": group})
    active = np.ones(len(states), dtype=bool)
    actions = np.full(len(states), "", dtype=object)
    turns = []
    while active.any():
        rows = np.flatnonzero(active)
        choice = policy(states[rows])
        actions[rows] = choice.texts
        following, rewards, terminated, truncated, _ = environments.step(actions.tolist(), where=active)
        came = (a[rows] for a in (following, rewards, terminated, truncated))
        turns.append((rows, states[rows], choice, *came))
        active = active & ~(terminated | truncated)
        states = following
    return _in_order(turns)


def _in_order(turns: list[tuple]) -> Experience:
    """Sort what N environments did turn by turn into episode after episode."""
    width = max(choice.ids.shape[1] for _, _, choice, *_ in turns)
    rows, states, _, following, rewards, terminated, truncated = zip(*turns, strict=True)
    episodes = np.concatenate(rows)
    experience = Experience(
        states=np.concatenate(states),
        actions=np.concatenate([choice.texts for _, _, choice, *_ in turns]),
        next_states=np.concatenate(following),
        rewards=np.concatenate(rewards),
        terminated=np.concatenate(terminated),
        truncated=np.concatenate(truncated),
        log_probs=np.concatenate([widened(choice.log_probs, width, 0) for _, _, choice, *_ in turns]),
        action_ids=np.concatenate([widened(choice.ids, width, IGNORE) for _, _, choice, *_ in turns]),
        episodes=episodes,
        steps=np.repeat(np.arange(len(turns)), [len(part) for part in rows]),
    )
    return experience.take(np.argsort(episodes, kind="stable"))


def fit(
    model: GPT,
    tokenizer: Tokenizer,
    experience: Experience,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    rng: Any,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    r"""Fit the language model to experience: maximise $\sum\log p(\text{state, action, what came back};\theta)$ by AdamW.

    Parameters
    ----------
    model : GPT
        Changed in place.
    tokenizer : Tokenizer
    experience : Experience
    steps, batch_size : int
        Number of updates, and of transcripts in each, drawn with replacement.
    lr : float
        Highest rate: linear warm-up over a tenth of the steps, then a cosine down to a tenth of it.
    rng : seed or numpy.random.Generator
    on_step : callable, (step, loss in nats a token)

    Raises
    ------
    NonFiniteError
        If a loss or a gradient is not finite; the parameters of the step before it stay.
    """
    rng = np.random.default_rng(rng)
    transcripts, optimizer = Transcripts(tokenizer, experience), AdamW(model.parameters, lr)
    for step in range(steps):
        on_step(step, fit_step(model, optimizer, *transcripts.draw(batch_size, rng), step, fit_rate(step, steps, lr)))


def fit_rate(step: int, steps: int, lr: float) -> float:
    """Return the rate of a step of :func:`fit`."""
    return warmup_cosine(step, steps // 10, steps, lr, lr / 10)


def fit_step(
    model: GPT, optimizer: AdamW, ids: np.ndarray, targets: np.ndarray, step: int, lr: float, max_norm: float = 1.0, **how: Any
) -> float:
    """Take one step of maximum likelihood and return the loss before it; ``how`` is as for :func:`likelihood_gradient`.

    Raises
    ------
    NonFiniteError
        If the loss or the gradient is not finite; the parameters stay as they were.
    """
    loss, gradient = likelihood_gradient(model, ids, targets, **how)
    descend(model, optimizer, gradient, step, lr, max_norm, loss)
    return loss


def coefficients(experience: Experience, baseline: str = "leave_one_out") -> np.ndarray:
    r"""Return $c = (G_{it}-b_{it})/N$ for each step: the derivative of the surrogate by $\log p(a_{it}\mid s_{it})$.

    It is the estimator :func:`minillm.estimators.by_state.by_state`, whose coefficients are the same for all tokens of an action.
    """
    layout = Layout(experience)
    batch = token_batch(experience, layout, experience.log_probs)
    return layout.steps(by_state(baseline).coefficients(batch))[:, 0]


def improve(
    model: GPT,
    tokenizer: Tokenizer,
    experience: Experience,
    optimizer: AdamW,
    *,
    step: int,
    lr: float | None = None,
    estimator: Estimator = STATE_RLOO,
    epochs: int = 1,
    sampling: Sampling = PLAIN,
    reference: GPT | None = None,
    on_coefficients: Callable[[int, np.ndarray], None] = lambda epoch, c: None,
    map: Callable[..., list] = parallel_map,
) -> None:
    r"""Take a step of the optimizer along an estimate of $\nabla J$ from episodes that the model played.

    Parameters
    ----------
    model : GPT
        Changed in place. Its value head, if it has one, learns the return that was still to come from each token on.
    tokenizer : Tokenizer
    experience : Experience
        Played by this model with this ``sampling``.
    optimizer : AdamW
    step : int
        Number of the update, for messages.
    lr : float, optional
        Rate; the optimizer's when None.
    estimator : Estimator
    epochs : int
        Steps on this experience, each with the coefficients at the θ that the one before has reached. The ratios are to θ before
        the first step.
    sampling : Sampling
    reference : GPT, optional
        The policy that a KL term compares with.
    on_coefficients : callable, (epoch, coefficients of shape (M, L) or (M, L, V))
    map : callable
        Where the gradient is computed; see :func:`minillm.scoring.policy_gradient`.

    Raises
    ------
    UserError
        If the estimator needs what there is not: values of a model without a value head, a reference, or what training never has.
    NonFiniteError
        If the gradient is not finite; the parameters stay as they were.

    Notes
    -----
    With one epoch and an estimator that looks at nothing but rewards and $\log p$, the log-probabilities are those of the sampling;
    otherwise they are scored before each step (see :mod:`minillm.scoring`). In the first step all ratios are exactly 1.
    """
    require_needs(estimator, model.config.value_head, reference is not None)
    layout = Layout(experience)
    evidence = Evidence(tokenizer, experience, layout, estimator, sampling, reference, epochs)
    for epoch in range(epochs):
        scores, batch = evidence.at(model)
        c = layout.steps(estimator.coefficients(batch))
        on_coefficients(epoch, c)
        dvalues = None if scores.values is None else value_slope(layout.steps(to_go(batch)), scores.values, len(batch))
        gradient = policy_gradient(model, tokenizer, experience, c, sampling, dvalues, map)
        descend(model, optimizer, -gradient, step, lr)


def descend(
    model: GPT, optimizer: AdamW, gradient: np.ndarray, step: int, lr: float | None, max_norm: float = 1.0, loss: float = 0.0
) -> None:
    """Check the loss and the gradient, clip its norm, take the step."""
    require_finite_update(model.parameters, loss, gradient, step)
    clip_by_global_norm(gradient, max_norm)
    optimizer.step(gradient, lr)
