"""Keys of config.json: read, refused, or listed as skipped; and what is skipped changes nothing in the framework either."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import BERT, GPT
from minillm.errors import CheckpointError, UserError
from minillm.pretrained import bert, gpt2
from minillm.pretrained.settings import OFF, SKIPPED, read_options, require_architecture

PATH = Path("there") / "config.json"
MODELS = {"gpt2-gelu-new": (GPT, gpt2), "bert-gelu": (BERT, bert)}


def test_a_known_key_is_an_option_under_our_name():
    fields = {"width": "n_embd", "n_embd": "n_embd", "eps": "epsilon"}
    assert read_options({"width": 3, "eps": 0.5}, PATH, fields, {}, "") == {"n_embd": 3, "epsilon": 0.5}
    assert read_options({"width": 3, "n_embd": 3}, PATH, fields, {}, "") == {"n_embd": 3}
    with pytest.raises(CheckpointError, match=r"^there/config.json: n_embd is 4, but n_embd is 3$"):
        read_options({"width": 3, "n_embd": 4}, PATH, fields, {}, "")


@pytest.mark.parametrize(("key", "value"), [("a", 1), ("a", True), ("a", "x"), ("a", 0), ("a", []), ("cross_attention", {}), ("a\n", 1)])
def test_an_unknown_key_is_refused_unless_it_is_off(key, value):
    for off in (None, False):
        assert read_options({key: off}, PATH, {}, {}, "") == {}
    with pytest.raises(CheckpointError, match=r"^there/config.json: '.*' is unknown and may change the maths"):
        read_options({key: value}, PATH, {}, {}, "")


@pytest.mark.parametrize("key", OFF)
def test_what_is_off_may_be_named_and_is_refused_when_on(key):
    for value in OFF[key]:
        assert read_options({key: value}, PATH, {}, {}, "") == {}
    with pytest.raises(CheckpointError, match=f"^there/config.json: {key} = .* changes the maths and is not supported, expected"):
        read_options({key: {"x": 1}}, PATH, {}, {}, "")


def test_an_architecture_of_its_own_may_skip_and_fix_keys():
    assert read_options({"summary_type": "x"}, PATH, {}, {}, "summary_.*") == {}
    assert read_options({"kind": "plain"}, PATH, {}, {"kind": ("plain", None)}, "") == {}
    with pytest.raises(CheckpointError, match="kind = 'odd' changes the maths and is not supported, expected 'plain' or None"):
        read_options({"kind": "odd"}, PATH, {}, {"kind": ("plain", None)}, "")


@pytest.mark.parametrize("key", ["n_embd", "activation_function", "use_alibi", "rope_theta", "hidden_act", "scale_attn_weights"])
def test_no_key_that_changes_the_maths_is_skipped(key):
    assert not SKIPPED.fullmatch(key)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "model_type is None, expected 'gpt2'"),
        ({"model_type": ["gpt2"]}, r"model_type is \['gpt2'\], expected 'gpt2'"),
        ({"model_type": "gpt2", "architectures": "GPT2Model"}, "architectures is 'GPT2Model', expected one of"),
        ({"model_type": "gpt2", "architectures": [["GPT2Model"]]}, r"architectures is \[\['GPT2Model'\]\], expected one of"),
        ({"model_type": "gpt2", "architectures": ["X"]}, r"architectures is \['X'\], expected one of GPT2Model"),
    ],
)
def test_another_architecture_is_named(config, message):
    with pytest.raises(CheckpointError, match=f"^there/config.json: {message}"):
        require_architecture(config, PATH, "gpt2", ("GPT2Model",))


def test_an_architecture_may_be_unnamed_or_one_of_many():
    for named in ([], None, ["X", "GPT2Model"]):
        require_architecture({"model_type": "gpt2", "architectures": named}, PATH, "gpt2", ("GPT2Model",))


numbers = st.integers(-2, 20) | st.sampled_from([10**12, 10**40, float("nan"), float("inf"), 0.5])
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("variant", MODELS)
def test_any_config_loads_or_is_refused_in_one_line_with_its_name(data, tmp_path, variant):
    cls, _ = MODELS[variant]
    good = json.loads((data / variant / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "model.safetensors").write_bytes((data / variant / "model.safetensors").read_bytes())

    @given(st.dictionaries(st.sampled_from([*good, "n_ctx", "x"]), values, min_size=1, max_size=2))
    def survives(change):
        (tmp_path / "config.json").write_text(json.dumps(good | change), encoding="utf-8")
        message = str(tmp_path)
        try:
            cls.from_pretrained(tmp_path)
        except UserError as error:
            message = str(error)
        assert str(tmp_path) in message
        assert "\n" not in message

    survives()


def changed(value):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 + 1
    return {"gelu_new": "relu", "gelu": "relu"}.get(value, "something") if isinstance(value, str) else 3 if value is None else {"0": "x"}


def build(framework, cls, config, state):
    model = cls(cls.config_class(**config, attn_implementation="eager")).double().eval()
    model.load_state_dict({name: framework.torch.tensor(np.array(state[name], np.float64)) for name in model.state_dict()})
    return model


@pytest.mark.parametrize(("variant", "head"), [("gpt2-gelu-new", "GPT2LMHeadModel"), ("bert-gelu", "BertForMaskedLM")])
def test_a_key_that_changes_the_frameworks_logits_is_read_or_refused(framework, data, oracle, tmp_path, variant, head):
    """For each key of the framework's own configuration: another value, the same tensors; either it is no matter, or we notice."""
    cls, (ours, reader) = getattr(framework.transformers, head), MODELS[variant]
    good = json.loads((data / variant / "config.json").read_text(encoding="utf-8"))
    whole = cls.config_class(**good).to_dict() | good
    drawn = framework.random_model(head, good, np.random.default_rng(0), framework.torch.float32)
    state = {name: tensor.numpy() for name, tensor in drawn.state_dict().items()}
    ids = {"input_ids": framework.torch.tensor(np.array(oracle(variant)["input_ids"]))}
    (tmp_path / "config.json").write_text(json.dumps(whole, default=str), encoding="utf-8")
    expected, plain = reader.read_config(tmp_path / "config.json"), build(framework, cls, whole, state)(**ids).logits
    noticed, no_matter = [], []
    for key in whole.keys() - {"architectures", "model_type", "transformers_version", "dtype"}:
        config = whole | {key: changed(whole[key])}
        (tmp_path / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")
        try:
            same = reader.read_config(tmp_path / "config.json") == expected
        except CheckpointError:
            same = False
        if not same:
            noticed.append(key)
            continue
        try:
            logits = build(framework, cls, config, state)(**ids).logits
        except Exception:  # the framework itself refuses the value, with errors of many classes
            continue
        assert abs(logits - plain).max() < 1e-12, key
        no_matter.append(key)
    assert len(noticed) > 8
    assert len(no_matter) > 8
    assert ours is not None
