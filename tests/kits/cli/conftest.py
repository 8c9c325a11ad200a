"""`sundog` as somebody types it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sundog(tmp_path: Path) -> Run:
    """Run the program in an empty folder."""

    def run(*arguments: str | Path, **options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "sundog.kits.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False, **options)  # type: ignore[call-overload,no-any-return]

    return run
