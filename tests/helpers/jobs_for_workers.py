"""Jobs that workers import by name: some of them raise, or kill their worker."""

import os
import signal
import threading
import time
from concurrent.futures import Executor
from pathlib import Path

from minillm.study import train_once

WORST = {"estimator": "reinforce", "seed": 5}  # the run of a study that kills its worker


def third(x):
    return {"third": x / 3, "of": x}


def slow_third(x):
    time.sleep(0.05)
    return third(x)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(mark):
    """Kill this process, unless the file says that somebody did already."""
    if not Path(mark).exists():
        Path(mark).touch()
        die()


def third_once_deadly(job):
    """Of ``(x, mark)``; kills its worker the first time, if there is a mark."""
    x, mark = job
    if mark:
        die_once(mark)
    return third(x)


def moody(x):
    """Raises for 3, kills its worker for 5, never answers for JSON for 7."""
    if x == 3:
        raise ValueError("three\nlines")
    if x == 5:
        die()
    return {1, 2} if x == 7 else third(x)


def deadly(x):
    die()


def worker_of(x):
    return os.getpid(), threading.active_count()


def train_once_deadly(config):
    """A run of a study; one of them kills its worker the first time. The environment says where the mark is."""
    if WORST.items() <= config.items():
        die_once(os.environ["DIED"])
    return train_once(config)


def no_executor():
    return 3


def failing():
    raise OSError("the queue is closed")


class NotMine(Executor):
    """An executor that says nothing of its size and does nothing."""
