import numpy as np
import pytest

from minillm import BERT, BERTConfig
from minillm.errors import UserError

SIZES = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
         "max_position_embeddings": 6}  # fmt: skip
IDS = np.array([[1, 5, 1, 8], [2, 1, 0, 0]])
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
TYPES = np.array([[0, 0, 1, 1], [0, 0, 0, 0]])


def model(dtype=np.float64, **options):
    fresh = BERT(BERTConfig(**SIZES | options), rng=0)
    theta = np.random.default_rng(0).normal(0, 0.4, fresh.parameters.vector.size)
    return BERT.from_vector(fresh.config, theta.astype(dtype))


@pytest.mark.parametrize("tied", [True, False])
def test_the_gradient_is_the_complex_steps(derivative, tied):
    bert = model(tie_word_embeddings=tied, hidden_act="gelu")
    rng = np.random.default_rng(1)
    theta, v = bert.parameters.vector, rng.normal(size=bert.parameters.vector.size)
    given = {"attention_mask": MASK, "token_type_ids": TYPES}
    logits, cache = bert.forward(IDS, **given)
    u = rng.normal(size=logits.shape)
    g = bert.backward(u, cache)
    tangent = derivative(lambda x: BERT.from_vector(bert.config, x).forward(IDS, **given)[0], theta, v)
    assert abs((tangent * u).sum() - g @ v) < 1e-14 * np.linalg.norm(g) * np.linalg.norm(v)


def test_padding_changes_nothing_and_the_text_after_does():
    bert = model()
    logits, _ = bert.forward(IDS, attention_mask=MASK)
    alone, _ = bert.forward(IDS[1:, :2])
    np.testing.assert_allclose(logits[1:, :2], alone, rtol=1e-13, atol=1e-13)
    other, _ = bert.forward(np.where(MASK, IDS, 7), attention_mask=MASK)
    assert (other[1, :2] == logits[1, :2]).all()
    changed = IDS.copy()
    changed[0, 3] = 4
    assert np.abs(bert.forward(changed)[0][0, 0] - bert.forward(IDS)[0][0, 0]).max() > 1e-3


def test_token_types_change_the_output():
    bert = model()
    assert np.abs(bert.encode(IDS)[0] - bert.encode(IDS, token_type_ids=TYPES)[0])[0].max() > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_other_dtypes(dtype):
    wide = model().forward(IDS)[0]
    logits, cache = model(dtype).forward(IDS)
    assert logits.dtype == dtype
    assert model(dtype).backward(np.ones_like(logits), cache).dtype == dtype
    np.testing.assert_allclose(logits, wide, rtol=1e-4, atol=1e-4)
    assert model(dtype).forward(IDS, keep=False)[1] == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.forward(np.full((1, 7), 1)), "7 tokens do not fit into max_position_embeddings = 6"),
        (lambda m: m.forward(np.array([[1, 9]])), "id 9 at row 0, position 1 is outside of 0 to 8"),
        (lambda m: m.encode(IDS, token_type_ids=TYPES * 2), "token type 2 at row 0, position 2 is outside of 0 to 1"),
        (lambda m: m.encode(IDS[0]), "must be integers of shape"),
        (lambda m: model(masked_lm=False).forward(IDS), "no masked-language-model head: use encode"),
        (lambda m: BERTConfig(**SIZES | {"hidden_size": 7}), "hidden_size must be a multiple of num_attention_heads, got 7 and 2"),
        (lambda m: BERTConfig(**SIZES, layer_norm_eps=-1.0), "layer_norm_eps must be finite and at least 0, got -1.0"),
        (lambda m: BERTConfig(**SIZES, tie_word_embeddings=1), "tie_word_embeddings must be True or False, got 1"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(UserError, match=message):
        call(model())
