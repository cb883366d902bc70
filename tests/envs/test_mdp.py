from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import envs
from envs.mdp import ExactMDP
from envs.tables import one_step


def random_mdp(seed=0, S=4, A=2, K=3, H=3):
    rng = np.random.default_rng(seed)
    successors = rng.integers(0, S, (S, A + 1, K))
    probabilities = rng.dirichlet(np.ones(K), (S, A + 1))
    rewards = rng.normal(size=(S, A + 1, K))
    terminal = np.arange(S) == S - 1
    successors[-1], rewards[-1] = S - 1, 0
    start = np.append(rng.dirichlet(np.ones(S - 1)), 0)
    texts = np.array(list("stuvwxyz")[:S])
    return ExactMDP("random", texts, np.array(["a", "b"][:A]), terminal, start, H, successors, probabilities, rewards)


def random_policy(mdp, seed=1, timed=False):
    shape = (mdp.horizon,) * timed + (len(mdp.state_texts),)
    return np.random.default_rng(seed).dirichlet(np.ones(mdp.invalid + 1), shape)[..., :-1]


def loop_value(mdp, policy, t, s):
    if t == mdp.horizon:
        return 0.0
    full = [*policy[s], 1 - sum(policy[s])]
    total = 0.0
    for a, pi in enumerate(full):
        for k, p in enumerate(mdp.probabilities[s, a]):
            total += pi * p * (mdp.rewards[s, a, k] + loop_value(mdp, policy, t + 1, mdp.successors[s, a, k]))
    return total


def test_value_equals_the_tree_of_all_histories():
    mdp = random_mdp()
    policy = random_policy(mdp)
    J = sum(mdp.start[s] * loop_value(mdp, policy, 0, s) for s in range(4))
    assert mdp.value(policy) == pytest.approx(J, rel=1e-13)


def test_optimum_equals_brute_force_over_deterministic_policies():
    mdp = random_mdp(S=3, H=2)
    best = -np.inf
    for choice in product(range(3), repeat=6):
        policy = np.eye(3)[np.reshape(choice, (2, 3))][..., :2]
        best = max(best, mdp.value(policy))
    solution = mdp.solve()
    assert pytest.approx(best, rel=1e-13) == solution.J
    assert mdp.value(solution.policy) == pytest.approx(best, rel=1e-13)
    assert solution.optimal.any(-1).all()


@pytest.mark.parametrize("timed", [False, True])
def test_gradient_is_the_complex_step_of_the_value(timed):
    mdp = random_mdp()
    policy = random_policy(mdp, timed=timed)
    gradient = mdp.gradient(policy)
    assert gradient.shape == policy.shape
    for index in np.ndindex(policy.shape):
        shifted = policy.astype(complex)
        shifted[index] += 1e-30j
        assert mdp.value(shifted).imag / 1e-30 == pytest.approx(gradient[index], rel=1e-13, abs=1e-14)


def test_gradient_is_holomorphic_and_longdouble_stays_longdouble():
    mdp = random_mdp()
    policy = random_policy(mdp)
    direction = random_policy(mdp, 2)
    second = mdp.gradient(policy + 1e-30j * (direction - policy)).imag / 1e-30
    finite = (mdp.gradient(policy + 1e-6 * (direction - policy)) - mdp.gradient(policy)) / 1e-6
    assert second == pytest.approx(finite, rel=1e-4, abs=1e-4)
    assert mdp.value(policy.astype(np.longdouble)).dtype == np.longdouble
    assert mdp.gradient(policy.astype(np.longdouble)).dtype == np.longdouble


def test_occupancy_weighs_rewards_to_the_value():
    mdp = random_mdp()
    policy = random_policy(mdp)
    full = np.concatenate([policy, 1 - policy.sum(-1, keepdims=True)], -1)
    d = mdp.occupancy(policy)
    assert d.sum(-1) == pytest.approx(np.ones(3), rel=1e-14)
    assert (d[..., None] * full * mdp.mean_rewards).sum() == pytest.approx(mdp.value(policy), rel=1e-13)


def test_policy_errors():
    mdp = random_mdp()
    with pytest.raises(ValueError, match="shape"):
        mdp.value(np.ones((2, 2)))
    policy = random_policy(mdp)
    policy[2] = 0.6, 0.5
    with pytest.raises(ValueError, match=r"row \(2,\) sums to 1.1"):
        mdp.value(policy + 0j)
    policy[2] = np.nan
    with pytest.raises(ValueError, match="row"):
        mdp.gradient(policy)
    policy[2] = -0.1, 0.5
    with pytest.raises(ValueError, match=r"entry \(2, 0\) is negative"):
        mdp.value(policy)


def test_float32_uniform_policy_is_no_error():
    mdp = envs.exact("text/bandit-3-3")
    assert mdp.value(mdp.uniform().astype(np.float32)).dtype == np.float64


def test_action_index_of_lists_and_arrays():
    mdp = envs.exact("grid/empty-3")
    texts = ["right", "up", "down", "left", "", "u", "upp", "zzz", "UP", "up ", "up\n", "down\uff11"]
    expected = [3, 0, 1, 2] + [4] * 8
    assert mdp.action_index(texts).tolist() == expected
    assert mdp.action_index(np.array(texts)).tolist() == expected
    assert mdp.action_index(["up\0"]).tolist() == [4]
    with pytest.raises(TypeError, match="action 1 must be a str, got bytes"):
        mdp.action_index(["up", b"up"])
    with pytest.raises(TypeError, match="single string"):
        mdp.action_index("up")


def test_draw_never_lands_on_zero_probability():
    tenths = [0.1] * 10
    assert np.cumsum(tenths)[-1] < 1
    mdp = one_step("x", ["p"], ["a"], np.zeros((1, 1)))
    successors = np.zeros((2, 2, 12), dtype=int)
    successors[1], successors[0] = 1, [0, *[0] * 10, 1]
    p = np.broadcast_to([0.0, *tenths, 0.0], successors.shape)
    mdp = replace(mdp, successors=successors, probabilities=p, rewards=np.where(successors < 0, 1.0, 0 * p))
    top = np.array([0.0, 1 - 2.0**-53])
    assert mdp.step(np.zeros(2, int), np.zeros(2, int), mdp.lots(top))[0].tolist() == [0, 0]
    assert (mdp.cumulative[0, 0, :1] == 0).all()


def test_step_frequencies_match_the_kernel():
    mdp = random_mdp()
    u = (np.arange(10_000) + 0.5) / 10_000
    _, rewards = mdp.step(np.full(10_000, 1), np.full(10_000, 2), mdp.lots(u))
    assert rewards.mean() == pytest.approx(mdp.mean_rewards[1, 2], abs=1e-3)


def test_tables_are_read_only_copies():
    mdp = random_mdp()
    for name in ("start", "successors", "probabilities", "rewards", "state_texts", "cumulative", "mean_rewards"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(mdp, name)[0] = 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_texts": np.array(["s", "s", "u", "v"])}, "'s' more than once"),
        ({"probabilities": np.full((4, 3, 3), 0.3)}, "not a distribution"),
        ({"start": np.array([0, 0, 0, 1.0])}, "start distribution has mass"),
        ({"successors": np.full((4, 3, 3), 7)}, "not a state index"),
        ({"rewards": np.ones((4, 3, 3))}, "terminal state 3 must absorb"),
        ({"rewards": np.ones((4, 2, 3))}, "rewards must have shape"),
        ({"terminal": np.zeros(3, bool)}, "terminal must have shape"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_malformed_tables(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(random_mdp(), **changes)
