"""The beds with their policies, made once."""

import pytest

from minillm.lab.setting import Setting, settings


@pytest.fixture(scope="session")
def all_settings() -> list[Setting]:
    """Three beds, each with a tabular policy and a transformer."""
    return settings()


@pytest.fixture(scope="session")
def published(all_settings) -> Setting:
    """The published bed with its tabular policy."""
    return all_settings[0]
