import pytest

import envs


def test_hidden_goal_optimum_by_hand():
    mdp = envs.exact("dialogue/slots", noise=0.1)
    assert pytest.approx(0.9 * 0.9 - 0.1, rel=1e-13) == mdp.solve().J  # ask both once, book what was heard
    assert envs.exact("dialogue/slots-observed").solve().J == 1


def test_hidden_process_is_the_observed_one_with_the_goal_forgotten():
    """Play a policy that reads only what was heard in both: averaged over goals the values agree."""
    hidden, observed = envs.exact("dialogue/slots"), envs.exact("dialogue/slots-observed")
    best = hidden.solve().policy[0]
    numbers = {text: s for s, text in enumerate(hidden.state_texts.tolist())}
    policy = best[[numbers[text.split(" | ")[-1]] for text in observed.state_texts.tolist()]]
    assert observed.value(policy) == pytest.approx(hidden.value(best), rel=1e-12)


def test_noise_range():
    for noise in (0, 0.5, 1):
        with pytest.raises(ValueError, match="noise"):
            envs.exact("dialogue/slots", noise=noise)
