"""The program `sundog` of the interpreter that runs this, and the error when there is nothing to measure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = (sys.executable, "-P", str(Path(sys.executable).parent / "sundog"))
COMMAND_SECONDS = 120.0
"""Deadline of a command that is quick on a machine with nothing else to do."""


class NotMeasured(RuntimeError):
    """Something failed, or did not end in time: there is nothing to measure."""


def run_program(*arguments: str) -> None:
    """Run a sub-command to its end. Raises: NotMeasured."""
    try:
        done = subprocess.run([*PROGRAM, *arguments], check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"sundog {arguments[0]}: not finished within {COMMAND_SECONDS:g} s") from None
    if done.returncode:
        raise NotMeasured(f"sundog {arguments[0]} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")


def keep_bytecode() -> None:
    """Let the programs use compiled modules, as installed ones do, also where the environment forbids writing them."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
