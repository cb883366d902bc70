"""The gates: what gradients must hold, measured. ``minillm check`` prints these rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from minillm.config import GPTConfig
from minillm.lab import differentiate
from minillm.lab.standard import Case, block_error, random_case

LOOP_ORACLE = Path(__file__).with_name("loop_oracle.json")


@dataclasses.dataclass(frozen=True)
class Gate:
    """One row: what was measured, against which bound; ``ok`` is measured ≤ bound."""

    gate: str
    measured: float
    bound: float

    @property
    def ok(self) -> bool:
        return bool(self.measured <= self.bound)


def loop_oracle_case() -> tuple[Case, float, np.ndarray]:
    """Return the case, loss and gradient that ``tests/minillm/lab/test_loop_oracle.py`` computed with 50 digits."""
    stored = json.loads(LOOP_ORACLE.read_text(encoding="utf-8"))
    arrays = [np.array(stored[name]) for name in ("theta", "ids", "targets", "upstream")]
    return Case(GPTConfig(**stored["config"]), *arrays), stored["loss"], np.array(stored["gradient"])
