import threading

import numpy as np
import pytest

from minillm import threads


@pytest.mark.parametrize("cores", [1, 2])
def test_the_map_is_the_loop(monkeypatch, cores):
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    assert threads.parallel_map(lambda x: x * x, range(20)) == [x * x for x in range(20)]
    assert threads.parallel_map(lambda x: x, []) == []


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_is_raised_as_in_the_loop(monkeypatch, cores):
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    with pytest.raises(ZeroDivisionError):
        threads.parallel_map(lambda x: 1 / x, [1, 0, 2])


def test_the_sum_does_not_depend_on_the_number_of_threads(monkeypatch):
    items = list(np.random.default_rng(0).normal(size=(30, 100)).astype(np.float32))
    sums = []
    for cores in (1, 2):
        monkeypatch.setattr(threads, "_cores", lambda cores=cores: cores)
        sums.append(threads.ordered_sum(np.exp, items, np.zeros(100, np.float32)))
    assert sums[0].tobytes() == sums[1].tobytes()
    start = np.ones(2)
    assert threads.ordered_sum(lambda x: x, [np.ones(2)], start) is start
    assert start.tolist() == [2, 2]


def test_blas_is_held_to_one_thread_and_set_back():
    get, put, _ = threads._openblas()
    if get is None:
        pytest.skip("NumPy without OpenBLAS")
    before = get()
    try:
        put(2)
        with threads.single_threaded_blas():
            assert get() == 1
        assert get() == 2
        with pytest.raises(KeyError), threads.single_threaded_blas():
            raise KeyError
        assert get() == 2
    finally:
        put(before)
    assert threading.active_count() >= 1


@pytest.mark.parametrize("cores", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 5, threads.MANY_NUMBERS, threads.MANY_NUMBERS + 7])
def test_parts_are_all_numbers_each_once(monkeypatch, cores, size):
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    seen, parts = np.zeros(size, dtype=np.int64), []

    def work(part):
        parts.append(part)
        seen[part] += 1

    threads.in_parts(work, size)
    assert (seen == 1).all()
    assert len(parts) == (cores if size >= threads.MANY_NUMBERS else 1)
