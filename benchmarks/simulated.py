"""How is a job run in the simulator? As people do it: with the command."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sundog.kits.poc.participant import PROGRAM


class JobFailed(RuntimeError):
    """A job of a benchmark did not complete: there is nothing to measure."""


@dataclass(frozen=True)
class Simulated:
    """A job that was simulated."""

    report: dict[str, Any]
    """As `simulate --json` prints it."""
    root: Path
    """Where server/ and site-1/ are."""
    began: float
    """When the command was given, on the monotonic clock."""
    seconds: float
    """What the command took."""


def simulate(job: Path, root: Path, sites: int) -> Simulated:
    """Run a job to its end.

    Raises:
        JobFailed: the end is not COMPLETED; with what the command said.
    """
    began = time.monotonic()
    command = [*PROGRAM, "simulate", str(job), "-n", str(sites), "-w", str(root), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise JobFailed(done.stderr)
    return Simulated(json.loads(done.stdout), root, began, time.monotonic() - began)
