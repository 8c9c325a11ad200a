"""Real processes, and a look at what they leave behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sundog.kits.poc.layout import Poc, write_poc
from sundog.kits.workspace.posix import lock_holder

PROGRAM = [sys.executable, "-P", "-m", "sundog.kits.cli"]
GONE_SECONDS = 30.0
MARK = "TEST_MARK"


class Marked:
    """Starts processes that can be found again, with all that they start, by a mark in their environment."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.environment = {**os.environ, MARK: self.mark}

    def popen(self, *command: str | Path, **options: object) -> subprocess.Popen[str]:
        words = [str(word) for word in command]
        kept = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen(words, env=self.environment, **kept)  # type: ignore[call-overload,no-any-return]

    def run(self, *command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        kept = {"capture_output": True, "text": True, "timeout": 100, **options}
        return subprocess.run(words, check=False, env=self.environment, **kept)  # type: ignore[call-overload,no-any-return]

    def sundog(self, *arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        return self.run(*PROGRAM, *arguments, **options)

    def alive(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


@pytest.fixture
def marked() -> Iterator[Marked]:
    """What a test starts by this is ended after it."""
    marked = Marked()
    yield marked
    for process in marked.alive():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends by itself
            process.kill()


@pytest.fixture
def poc(tmp_path: Path) -> Path:
    """A federation of two sites with free ports."""
    write_poc(tmp_path / "poc", Poc(sites=2, fl_port=0, admin_port=0))
    return tmp_path / "poc"


@pytest.fixture
def nothing_left(marked: Marked) -> Callable[[Path], None]:
    """Look for processes and locks that a program of ours has left behind."""

    def look(root: Path) -> None:
        left = psutil.wait_procs(marked.alive(), timeout=GONE_SECONDS)[1]
        assert [process.cmdline() for process in left] == []
        assert [str(lock) for lock in root.glob("*/state/lock") if lock_holder(lock)] == []

    return look
