"""The Llama: derivative, cache, and all that takes a language model takes it too."""

import numpy as np
import pytest

from minillm import CharTokenizer, Llama, LlamaConfig, LLMAgent
from minillm.decoding import generate, read
from minillm.errors import UserError
from minillm.kv_cache import KeyValueCache
from minillm.lab.exact import expected_return, expected_return_gradient
from minillm.objectives import cross_entropy
from minillm.ops import log_softmax
from minillm.sampling import Sampling
from minillm.scoring import policy_gradient, score
from minillm.worlds import load_envs

IDS = np.array([[3, 1, 3, 0, 2], [1, 1, 4, 6, 3]])
SIZES = {"vocab_size": 7, "hidden_size": 6, "intermediate_size": 5, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 8, "rope_theta": 50.0}  # fmt: skip


def random_llama(tied=True, dtype=np.float64, **sizes):
    config = LlamaConfig(**SIZES | sizes, tie_word_embeddings=tied)
    size = sum(int(np.prod(shape)) for shape in config.shapes().values())
    return Llama.from_vector(config, np.random.default_rng(1).normal(0, 0.4, size).astype(dtype))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("at", [None, np.array([[1, 4], [0, 2]])])
def test_backward_equals_the_complex_step(gradient_of, worst_block, tied, at):
    model = random_llama(tied)
    logits, cache = model.forward(IDS, at=at)
    upstream = np.random.default_rng(2).normal(size=logits.shape)

    def loss(theta):
        return (Llama.from_vector(model.config, theta).forward(IDS, at=at, keep=False)[0] * upstream).sum()

    assert worst_block(model, model.backward(upstream, cache), gradient_of(loss, model.parameters.vector)) < 1e-13


def test_at_gives_the_same_logits_and_gradient_as_all_positions():
    model, at = random_llama(), np.array([[1, 4], [0, 2]])
    full, cache_full = model.forward(IDS)
    some, cache = model.forward(IDS, at=at)
    np.testing.assert_allclose(some, np.take_along_axis(full, at[..., None], axis=1), rtol=1e-13, atol=1e-14)
    d = np.random.default_rng(3).normal(size=some.shape)
    wide = np.zeros_like(full)
    np.put_along_axis(wide, at[..., None], d, axis=1)
    np.testing.assert_allclose(model.backward(d, cache), model.backward(wide, cache_full), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("split", range(1, 5))
def test_cached_decoding_equals_the_full_forward_at_every_split(split):
    model = random_llama()
    full, _ = model.forward(IDS, keep=False)
    past = KeyValueCache(model.config, 2, np.float64)
    assert past.values.shape == (2, 2, 2, 8, 4)  # two key heads, not four
    first, _ = model.forward(IDS[:, :split], past=past, keep=False)
    past.lengths = past.lengths + split
    second, _ = model.forward(IDS[:, split:], past=past, keep=False)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), full, rtol=1e-13, atol=1e-14)


def test_a_token_changes_no_logit_before_it():
    model = random_llama()
    other = IDS.copy()
    other[:, 3] = 5
    one, two = (model.forward(ids, keep=False)[0] for ids in (IDS, other))
    assert (one[:, :3] == two[:, :3]).all()
    assert (one[:, 3:] != two[:, 3:]).any()


def test_a_shift_of_all_positions_changes_nothing():
    model = random_llama(max_position_embeddings=100)
    shifted, _ = model.forward(IDS, positions=np.broadcast_to(np.arange(90, 95), IDS.shape), keep=False)
    np.testing.assert_allclose(shifted, model.forward(IDS, keep=False)[0], rtol=1e-11, atol=1e-12)


def test_rows_of_a_batch_are_as_if_alone_and_the_window_goes_on():
    model = random_llama()
    prompts = [IDS[0, :2], IDS[1]]
    both = generate(model, prompts, max_new_tokens=6)
    for prompt, row in zip(prompts, both, strict=True):
        assert (generate(model, prompt, max_new_tokens=6) == row).all()
    assert len(both[1]) == 11  # past the 8 positions


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble, np.complex128])
def test_every_dtype_goes_in_and_comes_out(dtype):
    model = random_llama().astype(dtype)
    logits, cache = model.forward(IDS)
    _, dlogits = cross_entropy(logits, IDS)
    gradient = model.backward(dlogits, cache)
    assert logits.dtype == gradient.dtype == dtype
    wide = random_llama()
    reference, kept = wide.forward(IDS)
    np.testing.assert_allclose(logits, reference, atol=1e-5 if dtype is np.float32 else 1e-13)
    expected = wide.backward(cross_entropy(reference, IDS)[1], kept)
    np.testing.assert_allclose(gradient, expected, atol=3e-6 if dtype is np.float32 else 1e-13)


def test_a_new_model_has_unit_gains_and_a_loss_of_log_V():
    model = Llama(LlamaConfig(**SIZES, initializer_range=1e-3), rng=0)
    assert model.parameters.vector.dtype == np.float32
    assert (model.parameters["model.norm.weight"] == 1).all()
    loss, _ = cross_entropy(model.forward(IDS)[0], IDS)
    assert loss == pytest.approx(np.log(7), abs=1e-2)


def test_what_does_not_fit_is_an_error():
    model = random_llama()
    with pytest.raises(UserError, match=r"^9 tokens do not fit into n_positions = 8$"):
        model.forward(np.zeros((1, 9), int))
    with pytest.raises(UserError, match=r"^id 7 at row 0, position 1 is outside of vocab_size = 7$"):
        model.forward(np.array([1, 7]))
    with pytest.raises(UserError, match="no value head"):
        model.values(model.forward(IDS)[1])


def test_an_agent_scores_a_finite_set_and_draws_from_it():
    tokenizer = CharTokenizer("abcdef")
    agent = LLMAgent(random_llama(max_position_embeddings=20), tokenizer, rng=0)
    actions = ["a", "bcd", "fe"]
    found = agent.action_log_probs(["abc", ""], actions)
    for row, state in enumerate(["abc", ""]):
        for column, action in enumerate(actions):
            ids = np.array([*tokenizer.encode(state), 6, *tokenizer.encode(action), 6])
            log_p, _ = log_softmax(agent.model.forward(ids[:-1], keep=False)[0])
            expected = log_p[np.arange(len(state), len(ids) - 1), ids[len(state) + 1 :]].sum()
            assert found[row, column] == pytest.approx(expected, rel=1e-12)
    assert agent.choose_action("abc", actions) in actions
    assert agent.act(["a", "b", "a"]).texts.shape == (3,)


def test_scoring_and_the_policy_gradient_take_it(random_decisions, derivative):
    tokenizer, experience, c = random_decisions()
    model = random_llama(vocab_size=4, max_position_embeddings=12)
    v = np.random.default_rng(5).normal(size=model.parameters.vector.size)

    def surrogate(theta):
        scores = score(Llama.from_vector(model.config, theta), tokenizer, experience, Sampling(temperature=0.7))
        return (c[:, None] * scores.log_probs).sum()

    gradient = policy_gradient(model, tokenizer, experience, c, Sampling(temperature=0.7))
    assert gradient @ v == pytest.approx(derivative(surrogate, model.parameters.vector, v), rel=1e-12)


def test_exact_J_and_its_gradient_in_an_environment_with_a_table(derivative):
    mdp = load_envs().exact("text/bandit-2-2")
    tokenizer = CharTokenizer.from_texts([*mdp.state_texts, *mdp.action_texts])
    model = random_llama(vocab_size=tokenizer.vocab_size, max_position_embeddings=30)
    theta, v = model.parameters.vector, np.random.default_rng(6).normal(size=model.parameters.vector.size)
    value, gradient = expected_return_gradient(model, tokenizer, mdp)
    along = derivative(lambda t: expected_return(Llama.from_vector(model.config, t), tokenizer, mdp), theta, v)
    assert gradient @ v == pytest.approx(along, rel=1e-11)
    assert value == pytest.approx(float(expected_return(model, tokenizer, mdp)), rel=1e-12)


def test_read_keeps_room_for_the_positions_asked_for():
    model = random_llama()
    past, _ = read(model, IDS, np.array([5, 3]), room=6)
    assert past.values.shape[3] == 6
    assert past.lengths.tolist() == [5, 3]


def test_a_cache_may_be_used_up():
    model, rng = random_llama(), np.random.default_rng(0)
    logits, cache = model.forward(rng.integers(7, size=(2, 5)))
    dlogits = rng.normal(size=logits.shape)
    again = model.backward(dlogits, cache)
    assert (model.backward(dlogits, cache, use_up=True) == again).all()
    assert cache[1] == []
