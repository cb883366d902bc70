"""Where work is done, in one string: an executor on the protocol of :class:`concurrent.futures.Executor`.

===================== ==========================================================================================
``serial``            in this process, one call after the other
``process``           in worker processes of this machine, as many as cores (the default)
``process:N``         in N of them
``tcp://host:port``   on the workers of a dask.distributed scheduler (extra ``distributed``)
``mpi``               on the ranks of ``mpiexec -n N python -m mpi4py.futures -m minillm …`` (extra ``mpi``)
``module:factory``    on the executor that ``factory()`` returns: a thread pool, a batch system's, your own
===================== ==========================================================================================

A worker computes on one core: one thread of ours, one of BLAS. It is started by *spawn*, so that no lock and no state of this
process comes along, and ends when this process ends, however that happens.
"""

from __future__ import annotations

import importlib
import math
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

from minillm.errors import MissingExtra, UserError
from minillm.threads import available_cores, recycle_memory, use_one_core

VARIABLE = "MINILLM_EXECUTOR"
PATIENCE = 10  # seconds to wait for a scheduler, and for its first worker
RETRIES = 3  # of a task, by dask itself, before the failure is told


def executor(where: str | None = None) -> Executor:
    """Return an executor.

    Parameters
    ----------
    where : str, optional
        One of the strings above; when None, the environment variable ``MINILLM_EXECUTOR``, or ``process``.

    Raises
    ------
    UserError
        If the string is none of them, the scheduler does not answer, or MPI was not started as it must be.
    MissingExtra
        If the package that it needs is not installed.
    """
    where = where or os.environ.get(VARIABLE) or "process"
    if where == "serial":
        return SerialExecutor()
    if where == "mpi":
        return _mpi()
    if where.startswith("tcp://"):
        return DaskExecutor(where)
    processes = re.fullmatch(r"process(?::(\d{1,4}))?", where)
    if processes and processes[1] != "0":
        return WorkerProcesses(int(processes[1] or available_cores()))
    if re.fullmatch(r"\w+(\.\w+)*:\w+", where) and not where.startswith("process:"):
        return _from_factory(where)
    raise UserError(f"an executor is serial, process, process:N, tcp://host:port, mpi or package.module:factory, got {where!r}")


def number_of_workers(of: Executor) -> int:
    """Return how many calls an executor works at side by side; this machine's cores when it does not say."""
    for name in ("workers", "num_workers", "_max_workers"):  # ours, mpi4py's, those of the standard library
        found = getattr(of, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return available_cores()


def abandon(of: Executor) -> None:
    """Let go of an executor at once: what is under way is cancelled, or ended with the process that works at it."""
    if isinstance(of, WorkerProcesses):
        of.terminate()
    elif isinstance(of, DaskExecutor):
        of.close(wait=False)
    else:
        of.shutdown(wait=False, cancel_futures=True)


class SerialExecutor(Executor):
    """Calls at once, in this process; only errors are kept for later, an interruption comes through."""

    workers = 1

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Call and return the finished future."""
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class WorkerProcesses(ProcessPoolExecutor):
    """N spawned processes, each on one core."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        super().__init__(workers, multiprocessing.get_context("spawn"), prepare_worker)

    def terminate(self) -> None:
        """End the processes now."""
        processes = list((self._processes or {}).values())
        self.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def prepare_worker() -> None:
    """Make this process a worker: one core; Ctrl-C is its parent's business; without a parent it ends."""
    prepare_rank()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class DaskExecutor(Executor):
    """The workers of a dask.distributed scheduler, through its ``Client.get_executor``.

    A task whose worker dies is given to another one by the scheduler. The workers must be able to import minillm, in the same version.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise MissingExtra(f"the executor {address}", "dask.distributed", "distributed") from None
        try:
            self._client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(f"no dask scheduler answers at {address}: {str(error) or type(error).__name__}") from None
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            self._client.close()
            raise UserError(f"the dask scheduler at {address} has no workers; start one: dask worker {address}") from None
        self._executor = self._client.get_executor(pure=False, retries=RETRIES)
        self._asked, self._workers = -math.inf, 0

    @property
    def workers(self) -> int:
        """How many threads its workers have; asked for once a second, since workers come and go."""
        if time.monotonic() - self._asked > 1:
            self._asked, self._workers = time.monotonic(), sum(self._client.nthreads().values())
        return self._workers

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Hand a call to the scheduler."""
        return self._executor.submit(on_one_core, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what is under way, and take leave of the scheduler."""
        self.close(wait and not cancel_futures)

    def close(self, wait: bool) -> None:
        """Take leave of the scheduler; tasks that are not waited for are cancelled."""
        self._executor.shutdown(wait)
        self._client.close()


def on_one_core(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call, in a process that from now on computes on one core."""
    use_one_core()
    return fn(*args, **kwargs)


def _mpi() -> Executor:
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPIPoolExecutor
    except (ImportError, RuntimeError):  # mpi4py raises RuntimeError where there is no MPI library
        raise MissingExtra("the executor mpi", "mpi4py and an MPI library", "mpi") from None
    if MPI.COMM_WORLD.size < 2 or "mpi4py.futures" not in sys.orig_argv:
        raise UserError("the executor mpi needs ranks: mpiexec -n N python -m mpi4py.futures -m minillm … (one rank hands out, N − 1 work)")
    return MPIPoolExecutor(initializer=prepare_rank)


def prepare_rank() -> None:
    """Make this process a worker: one core."""
    use_one_core()
    recycle_memory()


def _from_factory(where: str) -> Executor:
    module, _, name = where.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)()
    except Exception as error:
        raise UserError(f"cannot make the executor {where}: {type(error).__name__}: {error}") from None
    if not isinstance(made, Executor):
        raise UserError(f"{where} returns {type(made).__name__}, expected a concurrent.futures.Executor")
    return made
