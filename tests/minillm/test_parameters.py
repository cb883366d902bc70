import numpy as np
import pytest

from minillm.config import GPTConfig
from minillm.parameters import Parameters, Pieces
from minillm.transformer import GPT

SHAPES = {"a.weight": (2, 3), "a.bias": (3,), "b": ()}


def test_names_are_views_that_lie_one_after_the_other():
    vector = np.arange(10.0)
    parameters = Parameters(SHAPES, vector)
    assert parameters.vector is vector
    assert parameters["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert parameters["a.bias"].tolist() == [6, 7, 8]
    assert parameters["b"] == 9
    parameters["a.bias"][1] = -1
    assert vector[7] == -1
    vector[0] = 42
    assert parameters["a.weight"][0, 0] == 42


def test_it_is_a_mapping_in_the_order_of_the_vector():
    parameters = Parameters(SHAPES)
    assert list(parameters) == list(SHAPES)
    assert len(parameters) == 3
    assert [view.shape for view in parameters.values()] == list(SHAPES.values())
    assert sum(view.size for view in parameters.values()) == parameters.vector.size == 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex128])
def test_a_new_vector_is_zero_and_has_the_dtype(dtype):
    parameters = Parameters(SHAPES, dtype=dtype)
    assert parameters.vector.dtype == dtype
    assert (parameters.vector == 0).all()
    other = parameters.like()
    assert other.vector.dtype == dtype
    assert not np.shares_memory(other.vector, parameters.vector)
    assert parameters.like(other.vector).vector is other.vector


def test_the_prefix_of_hugging_face_is_understood(random_model):
    parameters = random_model().parameters
    assert parameters["transformer.h.0.ln_1.weight"] is parameters["h.0.ln_1.weight"]


@pytest.mark.parametrize("vector", [np.zeros(9), np.zeros(11), np.zeros((10, 1)), np.zeros(20)[::2]])
def test_a_vector_that_does_not_fit_is_an_error(vector):
    with pytest.raises(ValueError, match="expected a contiguous vector of 10 parameters, got shape"):
        Parameters(SHAPES, vector)


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(KeyError, match=r"no parameter 'a.weigth'; near it: a.weight"):
        Parameters(SHAPES)["a.weigth"]
    with pytest.raises(KeyError, match=r"no parameter 'zzz'"):
        Parameters(SHAPES)["zzz"]


def test_every_position_has_a_name():
    parameters = Parameters(SHAPES, np.arange(10.0))
    for position in range(10):
        name, index = parameters.name_at(position)
        assert parameters[name][index] == position
    for position in (-1, 10):
        with pytest.raises(IndexError, match=f"position {position} is outside of a vector of 10 parameters"):
            parameters.name_at(position)


def test_initial_parameters_follow_gpt_2():
    config = GPTConfig(vocab_size=50, n_positions=20, n_embd=32, n_layer=8, n_head=2)
    model = GPT(config, rng=0, dtype=np.float64)
    for name, view in model.parameters.items():
        if name.endswith("bias"):
            assert (view == 0).all()
        elif view.ndim == 1:
            assert (view == 1).all()
        else:
            std = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02
            assert view.std() == pytest.approx(std, rel=0.1)
    assert (GPT(config, rng=0, dtype=np.float64).parameters.vector == model.parameters.vector).all()
    assert (GPT(config, rng=1, dtype=np.float64).parameters.vector != model.parameters.vector).any()


def test_astype_copies_and_from_vector_views(random_model):
    model = random_model()
    copy = model.astype(np.float64)
    copy.parameters["ln_f.bias"][...] = 9
    assert (model.parameters["ln_f.bias"] != 9).all()
    GPT.from_vector(model.config, model.parameters.vector).parameters["ln_f.bias"][...] = 9
    assert (model.parameters["ln_f.bias"] == 9).all()


def test_pieces_make_up_the_vector_and_what_was_not_asked_for_is_zero():
    layout = Parameters({"a": (2, 2), "b": (3,), "c": (1,)}, dtype=np.float32)
    pieces = Pieces(layout)
    assert not pieces
    pieces["b"][...] = [1, 2, 3]
    pieces["b"] += 1
    assert list(pieces) == ["b"]
    vector = pieces.vector()
    assert vector.dtype == np.float32
    assert vector.tolist() == [0, 0, 0, 0, 2, 3, 4, 0]
