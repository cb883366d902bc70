"""Reading with the cache, generating and scoring."""



import numpy as np
import pytest

from minillm.decoding import Reader, Sampling, generate, pad, read, sample, score
from minillm.errors import UserError
from minillm.kv_cache import KeyValueCache
from minillm.ops import log_softmax


def test_pad_fills_on_the_right():
    ids, lengths = pad([[1, 2, 3], [4], []])
    assert ids.tolist() == [[1, 2, 3], [4, 0, 0], [0, 0, 0]]
    assert lengths.tolist() == [3, 1, 0]


@pytest.fixture
def model(random_model):
    return random_model(n_positions=16, n_embd=12, n_head=3, vocab_size=9, tied=False)


@pytest.mark.parametrize("split", range(1, 16))
def test_cached_decoding_equals_the_full_forward_at_every_split(model, split):
    ids = np.random.default_rng(split).integers(9, size=(3, 16))
    full, _ = model.forward(ids)
    past, logits = read(model, ids[:, :split], np.full(3, split))
    assert np.abs(logits - full[:, split - 1]).max() < 1e-12
    reader = Reader(model, past)
    for t in range(split, 16):
        assert np.abs(reader(ids[:, t]) - full[:, t]).max() < 1e-12
    assert past.lengths.tolist() == [16] * 3
    assert (past.ids == ids).all()


def test_prefill_in_chunks_of_seven_and_nine(model):
    ids = np.random.default_rng(0).integers(9, size=(2, 16))
    full, _ = model.forward(ids)
    past, logits = read(model, ids[:, :7], np.array([7, 7]))
    assert np.abs(logits - full[:, 6]).max() < 1e-12
    past, logits = read(model, ids[:, 7:], np.array([9, 9]), past)
    assert np.abs(logits - full[:, 15]).max() < 1e-12
    fresh, _ = read(model, ids, np.array([16, 16]))
    assert np.abs(past.keys - fresh.keys).max() < 1e-12
    assert np.abs(past.values - fresh.values).max() < 1e-12


def test_chunks_of_rows_that_differ_in_length(model):
    rng = np.random.default_rng(1)
    rows = [rng.integers(9, size=n) for n in (9, 5, 12)]
    past, _ = read(model, *pad([row[:4] for row in rows]))
    past, logits = read(model, *pad([row[4:] for row in rows]), past)
    for row, z in zip(rows, logits, strict=True):
        assert np.abs(z - model.forward(row)[0][-1]).max() < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_prompts_of_different_lengths_go_on_as_if_alone(model, seed):
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(9, size=n).tolist() for n in (1, 4, 2, 9)]
    together = generate(model, prompts, 12, eos_token_id=8)  # the last one slides past the context's end
    for prompt, row in zip(prompts, together, strict=True):
        alone = generate(model, np.array(prompt), 12, eos_token_id=8)
        assert row.tolist() == alone.tolist()
        assert row[: len(prompt)].tolist() == prompt


def test_past_the_context_the_cache_equals_recomputation(random_model):
    """A full row keeps its last n_positions // 2 tokens, read again from position 0."""
    for n_positions in (1, 2, 3, 6, 7):
        model = random_model(n_positions=n_positions)
        ids = np.random.default_rng(0).integers(7, size=(2, 25))
        past, _ = read(model, ids[:, :1], np.array([1, 1]))
        window, reader = [list(row[:1]) for row in ids], Reader(model, past)
        for t in range(1, 25):
            logits = reader(ids[:, t])
            for b in range(2):
                if len(window[b]) == n_positions:
                    window[b] = window[b][-max(1, n_positions // 2) :] if n_positions > 1 else []
                window[b].append(int(ids[b, t]))
            expected, _ = model.forward(np.array(window))
            assert np.abs(logits - expected[:, -1]).max() < 1e-12
            fresh, _ = read(model, np.array(window), np.full(2, len(window[0])))
            n = len(window[0])
            assert past.lengths.tolist() == [n, n]
            assert np.abs(past.keys[..., :n] - fresh.keys[..., :n]).max() < 1e-12
            assert np.abs(past.values[..., :n, :] - fresh.values[..., :n, :]).max() < 1e-12


def test_the_window_slides_for_full_rows_only(model):
    rng = np.random.default_rng(0)
    full, short = rng.integers(9, size=16), rng.integers(9, size=3)
    past, _ = read(model, *pad([full, short]))
    logits = Reader(model, past)(np.array([4, 5]))
    assert past.lengths.tolist() == [9, 4]
    assert np.abs(logits[0] - model.forward(np.append(full[-8:], 4))[0][-1]).max() < 1e-12
    assert np.abs(logits[1] - model.forward(np.append(short, 5))[0][-1]).max() < 1e-12


def test_a_cache_taken_apart_is_a_copy(model):
    past, _ = read(model, np.array([[1, 2], [3, 4]]), np.array([2, 2]))
    before = past.keys.copy(), past.values.copy(), past.ids.copy(), past.lengths.copy()
    part = past.take(np.array([1, 1, 0]))
    assert part.ids[:, :2].tolist() == [[3, 4], [3, 4], [1, 2]]
    Reader(model, part)(np.array([5, 6, 7]))
    assert all((a == b).all() for a, b in zip(before, (past.keys, past.values, past.ids, past.lengths), strict=True))


def test_rows_that_end_leave_and_the_others_go_on(model):
    prompts = [[row] for row in range(9)]
    free = generate(model, prompts, 10)
    different = 0
    for end in range(9):
        lengths = set()
        for whole, cut in zip(free, generate(model, prompts, 10, eos_token_id=end), strict=True):
            ends = np.flatnonzero(whole[1:] == end)
            lengths.add(2 + ends[0] if ends.size else len(whole))
            assert cut.tolist() == whole[: 2 + ends[0] if ends.size else None].tolist()
        different = max(different, len(lengths))
    assert different > 1


def test_an_array_is_filled_with_the_end_token(model):
    shorter = 0
    for end in range(9):
        lists = generate(model, [[row] for row in range(9)], 10, eos_token_id=end)
        array = generate(model, np.arange(9)[:, None], 10, eos_token_id=end)
        for whole, row in zip(array, lists, strict=True):
            assert whole[: len(row)].tolist() == row.tolist()
            assert (whole[len(row) :] == end).all()
            shorter += len(row) < len(whole)
    assert shorter > 0


def test_log_probs_of_a_sample_are_those_of_the_sampled_distribution(model):
    sampling = Sampling(temperature=0.7, top_k=5, top_p=0.9)
    prompt = np.array([[1, 2, 3]] * 6)
    past, logits = read(model, prompt, np.full(6, 3))
    new = sample(model, past, logits, 5, sampling, None, np.random.default_rng(0))
    z, _ = model.forward(np.concatenate([prompt, new.ids], axis=1))
    expected = np.take_along_axis(sampling.log_probs(z[:, 2:7]), new.ids[:, :, None], axis=2)[..., 0]
    np.testing.assert_allclose(new.log_probs, expected, rtol=1e-11, atol=1e-12)
    assert np.isfinite(new.log_probs).all()
    assert len(np.unique(new.ids, axis=0)) > 1


def test_on_token_hears_every_token_once(model):
    heard = [[] for _ in range(5)]

    def on_token(rows, tokens):
        for row, token in zip(rows, tokens, strict=True):
            heard[row].append(int(token))

    past, logits = read(model, np.arange(5)[:, None], np.ones(5, int))
    new = sample(model, past, logits, 9, Sampling(), 3, np.random.default_rng(1), on_token)
    assert heard == [row[:n].tolist() for row, n in zip(new.ids, new.lengths, strict=True)]


def test_an_activation_that_vanishes_is_no_warning(random_model):
    model = random_model(dtype=np.float32)
    model.parameters["h.0.mlp.c_fc.bias"][...] = -40
    assert generate(model, [[1, 2], [3]], 3)[1].shape == (4,)


def test_log_probs_are_left_out_only_where_they_are_not_asked_for(model):
    def continued(**options):
        past, logits = read(model, np.arange(4)[:, None], np.ones(4, int))
        return sample(model, past, logits, 5, Sampling(temperature=0.5), 3, None, **options)

    with_them, without = continued(), continued(log_probs=False)
    assert (with_them.ids == without.ids).all()
    assert (with_them.lengths == without.lengths).all()
    written = np.arange(with_them.ids.shape[1]) < with_them.lengths[:, None]
    assert np.isnan(without.log_probs[written]).all()
    z, _ = model.forward(np.concatenate([np.arange(4)[:, None], with_them.ids], axis=1))
    expected = np.take_along_axis(Sampling(temperature=0.5).log_probs(z[:, :-1]), with_them.ids[:, :, None], axis=2)[..., 0]
    np.testing.assert_allclose(with_them.log_probs, np.where(written, expected, 0), rtol=1e-11, atol=1e-12)


def test_generate_by_seed_repeats_and_options_matter(model):
    prompt = np.array([[1, 2]] * 8)
    options = {"do_sample": True, "max_new_tokens": 8}
    drawn = generate(model, prompt, **options, rng=0)
    assert (drawn == generate(model, prompt, **options, rng=0)).all()
    assert (drawn == model.generate(prompt, **options, rng=np.random.default_rng(0))).all()
    assert (drawn != generate(model, prompt, **options, rng=1)).any()
    greedy = generate(model, prompt, 8)
    assert (greedy == greedy[:1]).all()
    for option in ({"temperature": 0}, {"top_k": 1}, {"top_p": 1e-9}):
        assert (generate(model, prompt, **options, **option, rng=0) == greedy).all()
        assert (drawn != greedy).any()


def test_generate_keeps_the_form_of_its_prompts(model):
    assert generate(model, np.array([1, 2]), 3).shape == (5,)
    assert generate(model, [1, 2], 3).shape == (5,)
    assert generate(model, np.array([[1, 2]]), 3).shape == (1, 5)
    assert [len(row) for row in generate(model, [[1, 2], [3]], 3)] == [5, 4]
    assert generate(model, [1, 2], 0).tolist() == [1, 2]


@pytest.mark.parametrize("ids", [[], [[]], [[1], []], np.zeros((2, 0), int), np.array([], int)])
def test_an_empty_prompt_is_an_error(model, ids):
    with pytest.raises(UserError, match=r"prompt \d is empty; start it with the end-of-text token"):
        generate(model, ids)


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        ([1] * 17, {}, "17 tokens do not fit into n_positions = 16"),
        ([1], {"do_sample": True}, "do_sample needs rng"),
        ([1], {"max_new_tokens": -1}, "max_new_tokens must be at least 0, got -1"),
        ([1], {"max_new_tokens": 1.0}, "max_new_tokens must be an integer, got 1.0"),
        ([1], {"temperature": -1}, "temperature"),
        ([1, 9], {}, "id 9 at row 0, position 1 is outside of vocab_size = 9"),
        ([1, 0.5], {}, "sequence 0 must hold integer ids, got float64"),
        ([[1], ["a"]], {}, "sequence 1 must hold integer ids, got <U1"),
        (np.array([0.5]), {}, "sequence 0 must hold integer ids, got float64"),
        (np.zeros((1, 1, 1), int), {}, r"sequence 0 must hold integer ids, got int64 of shape \(1, 1\)"),
    ],
)
def test_bad_requests_are_named(model, ids, options, message):
    with pytest.raises(UserError, match=message):
        generate(model, ids, **options)


def test_scores_equal_one_full_forward_an_action(model):
    rng = np.random.default_rng(0)
    prompts = [rng.integers(9, size=n).tolist() for n in (3, 1, 6)]
    actions = [[1], [2, 3, 4], [5, 5], [2, 3, 4, 0, 1]]
    sampling = Sampling(temperature=0.8, top_k=7)
    past, logits = read(model, *pad(prompts))
    keys = past.keys.copy()
    scores = score(model, past, logits, actions, sampling)
    assert (past.keys == keys).all()
    assert past.lengths.tolist() == [3, 1, 6]
    for n, prompt in enumerate(prompts):
        for a, action in enumerate(actions):
            log_p = sampling.log_probs(model.forward(np.array(prompt + action))[0])
            expected = sum(log_p[len(prompt) - 1 + t, token] for t, token in enumerate(action))
            assert scores[n, a] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("bound", "value"), [("SCORED_ROWS", 2), ("SCORED_LOGITS", 1)])
def test_scores_in_pieces_are_the_same(model, monkeypatch, bound, value):
    past, logits = read(model, *pad([[1], [2, 3], [4]]))
    actions = [[1, 2], [3], [4, 5, 6]]
    whole = score(model, past, logits, actions, Sampling())
    monkeypatch.setattr(f"minillm.decoding.{bound}", value)
    np.testing.assert_allclose(score(model, past, logits, actions, Sampling()), whole, rtol=1e-13)


def test_actions_of_one_token_each(model):
    past, logits = read(model, np.array([[1]]), np.array([1]))
    scores = score(model, past, logits, [[t] for t in range(9)], Sampling())
    assert np.exp(scores).sum() == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex128])
def test_the_cache_has_the_dtype_of_the_model(random_model, dtype):
    past, logits = read(random_model(dtype=dtype), np.array([[1, 2]]), np.array([2]))
    assert past.keys.dtype == past.values.dtype == logits.dtype == dtype
    assert isinstance(past, KeyValueCache)


def test_complex_scores_carry_the_derivative(random_model, derivative):
    """Scoring through the cache is holomorphic too: it agrees with the full forward along a direction."""
    model = random_model()
    v = np.random.default_rng(0).normal(size=model.parameters.vector.size)

    def cached(theta):
        moved = type(model).from_vector(model.config, theta)
        past, logits = read(moved, np.array([[1, 2]]), np.array([2]))
        return score(moved, past, logits, [[3, 4, 5]], Sampling(temperature=0.5))[0, 0]

    def full(theta):
        z, _ = type(model).from_vector(model.config, theta).forward(np.array([1, 2, 3, 4]))
        return sum(log_softmax(2 * z[t])[0][token] for t, token in ((1, 3), (2, 4), (3, 5)))

    theta = model.parameters.vector
    assert derivative(cached, theta, v) == pytest.approx(derivative(full, theta, v), rel=1e-12)
