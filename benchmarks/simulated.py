"""A job in the simulator, run as people run it: with the command."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .memory import PROPORTIONAL_PERIOD_SECONDS, PeakMemory, is_measurable, proportional_bytes
from .noop_job import Size, Times, take_times, write_noop_job
from .program import PROGRAM, NotMeasured

DEADLINE_SECONDS = 300.0
ENDING_SECONDS = 10.0
"""Between Ctrl-C and kill -9."""


@dataclass(frozen=True)
class Simulated:
    """A job that was simulated."""

    report: dict[str, Any]
    """As `simulate --json` prints it."""
    began: float
    """When the command was given, on the monotonic clock."""
    seconds: float
    """What the command took."""
    peak_bytes: int
    """The most that the process tree had at one time (PSS); 0 if that was not watched."""


def simulate(job: Path, root: Path, sites: int, *, deadline_seconds: float = DEADLINE_SECONDS, is_watched: bool = False) -> Simulated:
    """Run a job to its end.

    Args:
        job: its folder.
        root: where results are left.
        sites: number of virtual sites.
        deadline_seconds: the command is ended after that.
        is_watched: whether its memory is sampled.

    Raises:
        NotMeasured: the command failed, with its message, or did not end in time.
    """
    command = [*PROGRAM, "simulate", str(job), "-n", str(sites), "-w", str(root), "--json"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        peak = PeakMemory([process.pid], proportional_bytes, PROPORTIONAL_PERIOD_SECONDS) if is_watched and is_measurable() else None
        with peak or nullcontext():
            document, words = _communicate(process, deadline_seconds)
    seconds = time.monotonic() - began
    if process.returncode:
        raise NotMeasured(f"simulate -n {sites} ended with status {process.returncode}: {words.strip()[-500:]}")
    return Simulated(json.loads(document), began, seconds, peak.peak_bytes[process.pid] if peak else 0)


def _communicate(process: subprocess.Popen[str], deadline_seconds: float) -> tuple[str, str]:
    try:
        return process.communicate(timeout=deadline_seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        raise NotMeasured(f"not finished within {deadline_seconds:g} s") from None
    except BaseException:  # Ctrl-C in here: nothing is left behind
        process.kill()
        raise


@dataclass(frozen=True)
class SimulatedNoop:
    """The job without work, simulated."""

    round_seconds: list[float]
    first_task_seconds: float
    """From the command to the first task."""
    seconds: float
    peak_mb: float
    """Of the process tree (PSS); 0 if it was not watched."""


def simulate_noop(
    size: Size, *, rounds: int, sites: int, deadline_seconds: float = DEADLINE_SECONDS, is_watched: bool = False
) -> SimulatedNoop:
    """Simulate the job without work in a temporary folder. Raises: NotMeasured."""
    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as folder:
        job = write_noop_job(Path(folder) / "job", size, rounds=rounds, sites=sites)
        done = simulate(job, Path(folder) / "simulation", sites, deadline_seconds=deadline_seconds, is_watched=is_watched)
        times: Times = take_times(job)
    return SimulatedNoop(times.per_round, times.first_task - done.began, done.seconds, done.peak_bytes / 1e6)
