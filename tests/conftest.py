"""What do all tests share? Seeded examples, and an environment without the developer's own settings."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

for number in (signal.SIGINT, signal.SIGHUP):  # who starts the tests in the background (`&`, nohup) has all their children ignore these
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SUNDOG_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Where logs go is the process's business: what a test decides, such as by opening a Session, ends with it."""
    yield
    structlog.reset_defaults()
