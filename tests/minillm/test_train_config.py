"""What a run depends on, and what is refused before it starts."""

import pytest

from minillm.errors import UserError
from minillm.estimators import ESTIMATORS
from minillm.train_config import TrainConfig, read_options

MISSING = {"optimal_baseline": "score_norms", "optimal_baseline_loo": "score_norms", "all_action": "q"}


def test_every_estimator_can_be_trained_with_or_says_what_is_missing():
    for name in ESTIMATORS:
        if name in MISSING:
            with pytest.raises(UserError, match=f"estimator {name} needs {MISSING[name]}, which training does not have here"):
                TrainConfig(estimator=name)
        else:
            config = TrainConfig(estimator=name)
            assert config.value_head == ("values" in ESTIMATORS[name].needs)
            assert config.reference == ("ref_log_probs" in ESTIMATORS[name].needs or "full_ref_log_probs" in ESTIMATORS[name].needs)


def test_a_sum_of_estimators_is_one():
    config = TrainConfig(estimator="gae+kl_k2_loss_token")
    assert config.value_head
    assert config.reference


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "rlooo"}, "there is no estimator 'rlooo'; near it: rloo"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"group": 7}, "improve_episodes must be a multiple of group, got 384 and 7"),
        ({"temperature": 0.0}, "a policy of temperature 0 has no gradient"),
        ({"top_p": 2.0}, "top_p must be above 0"),
    ],
)
def test_a_wrong_configuration_is_one_line(options, message):
    with pytest.raises(UserError, match=message):
        TrainConfig(**options)


def test_options_are_numbers_words_or_truths():
    assert read_options(["slip=0", "holes=0.5", "name=a=b", "on=true", "list=[1]", "empty="]) == {
        "slip": 0, "holes": 0.5, "name": "a=b", "on": True, "list": "[1]", "empty": "",
    }  # fmt: skip
    for wrong in ("slip", "=3"):
        with pytest.raises(UserError, match="an option of an environment is written NAME=VALUE"):
            read_options([wrong])
