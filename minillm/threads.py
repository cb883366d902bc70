"""Two cores: parts of a batch side by side in threads, with BLAS held to one thread each.

NumPy releases the interpreter's lock inside its array operations, so threads do help; and half a batch each is faster than
letting BLAS split every small product. The parts and the order of their sum are fixed: the result does not depend on the
number of threads.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import glob
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, ARENA_MAX = -1, -2, -3, -8  # names of glibc's malloc.h, each with M_ before it
KEPT_BYTES = 1 << 30
MANY_NUMBERS = 1 << 18
_alone = False  # whether this process is a worker among others
_SYMBOLS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


def parallel_map(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return ``[function(item) for item in items]``, computed on all cores; errors and ``np.errstate`` act as in the plain loop."""
    if len(items) < 2 or _cores() < 2:
        return [function(item) for item in items]
    waiting = [_pool().submit(contextvars.copy_context().run, function, item) for item in items]
    return [future.result() for future in waiting]


def ordered_sum(
    function: Callable[[Item], np.ndarray], items: Sequence[Item], start: np.ndarray, map: Callable[..., list] = parallel_map
) -> np.ndarray:
    """Return ``start`` plus all ``function(item)``, added in the order of the items; ``start`` is changed in place."""
    for value in map(function, items):
        start += value
    return start


def in_parts(work: Callable[[slice], None], size: int) -> None:
    """Call ``work`` on slices that together are ``size`` numbers: one a core, side by side, if there are many. For work number by
    number, which no cut can change."""
    parts = _cores() if size >= MANY_NUMBERS else 1
    edges = [size * k // parts for k in range(parts + 1)]
    parallel_map(work, [slice(start, stop) for start, stop in itertools.pairwise(edges)])


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold NumPy's OpenBLAS to one thread inside the context; no effect with another BLAS."""
    get, put, _ = _openblas()
    if get is None or put is None:
        yield
        return
    before = get()
    put(1)
    try:
        yield
    finally:
        put(before)


def use_one_core() -> None:
    """From now on compute in this process on one core: no threads of ours, one of BLAS. For workers, one of many processes."""
    global _alone
    _alone = True
    _, put, _ = _openblas()
    if put is not None:
        put(1)


def recycle_memory() -> None:
    """Let this process keep the memory of freed arrays for the next ones; no effect without glibc.

    By default glibc gives large arrays back to the system, and each new one then costs a page fault every 4 kB: a third of
    the time of a training step at the size of the main job. For commands, which own their process.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        sizes = {MMAP_THRESHOLD: KEPT_BYTES, TRIM_THRESHOLD: KEPT_BYTES, TOP_PAD: KEPT_BYTES // 16}
        for option, value in {**sizes, ARENA_MAX: 1}.items():  # one arena: those of threads give memory back all the same
            mallopt(option, value)


def describe() -> dict[str, Any]:
    """Return the number of cores that may be used, which changes no bit, and the kernels that OpenBLAS chose for them, which do."""
    _, _, name = _openblas()
    if name is not None:
        name.restype = ctypes.c_char_p
    return {"cores": available_cores(), "blas_core": None if name is None else name().decode()}


@functools.cache
def _openblas() -> tuple[Any, Any, Any]:
    """The functions of the OpenBLAS inside NumPy's wheel that read and set its number of threads and name its kernels, or Nones."""
    package = os.path.dirname(np.__file__)
    for folder in (package + ".libs", os.path.join(package, ".dylibs")):
        for path in glob.glob(os.path.join(folder, "*openblas*")):
            library = ctypes.CDLL(path)
            for symbol in _SYMBOLS:
                found = [getattr(library, symbol.format(name), None) for name in ("get_num_threads", "set_num_threads", "get_corename")]
                if found[0] is not None and found[1] is not None:
                    return found[0], found[1], found[2]
    return None, None, None


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cores() -> int:
    return 1 if _alone else available_cores()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), thread_name_prefix="minillm")
