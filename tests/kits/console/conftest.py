"""Consoles at terminals, with a federation that they talk to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sundog.kits.admin.session import Session

from ...e2e.conftest import marked, nothing_left, poc
from ..admin.federation import Federation, federation
from .terminal import Terminal

__all__ = ["marked", "nothing_left", "poc"]
PROGRAM = (sys.executable, "-P", "-m", "sundog.kits.cli")


class Clinic:
    """A federation with one job that ran."""

    def __init__(self, made: Federation) -> None:
        self.federation = made
        self.session: Session = made.session()
        self.kit: Path = made.root / "admin"
        self.done = self.session.submit_job(made.job("hello-done", rounds=2))
        self.session.monitor_job(self.done, timeout=20)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with federation(tmp_path_factory.mktemp("clinic"), "tcp://127.0.0.1:0") as made:
        yield Clinic(made)


@pytest.fixture
def console(clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Terminal]]:
    """Open a console in an empty folder, and wait for its prompt."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:

        def open_console(**options: Any) -> Terminal:
            terminal = stack.enter_context(Terminal(*PROGRAM, "admin", clinic.kit, **options))
            terminal.wait_for_prompt()
            return terminal

        yield open_console
