"""What do all tests share? Seeded examples, and an environment without the developer's own settings."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SUNDOG_"):
            monkeypatch.delenv(name)
