"""W4: how long until something happens, and what does waiting cost?"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from sundog.kits.poc.layout import Transport
from sundog.kits.poc.participant import PROGRAM

from .federation import federation
from .figures import Figure, Target
from .memory import is_measurable, memory_bytes
from .noop_job import SMALL, read_times, write_noop_job
from .simulated import simulate

TIMES = 5
SITES = 2
ROUNDS = 3


def startups() -> Iterator[Figure]:
    """Seconds to the first sign of life of each program; memory of daemons that have nothing to do."""
    yield Figure("W4", "sundog --help", "s", [_help_seconds() for _ in range(TIMES)], Target(0.3))
    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as folder:
        job = write_noop_job(Path(folder) / "job", SMALL, rounds=ROUNDS, sites=SITES)
        values = [_simulator_seconds(job, Path(folder) / f"simulation-{number}") for number in range(TIMES)]
        yield Figure("W4", "simulator: command to first task", "s", values, Target(1))
        yield from _real(job)
    if is_measurable():
        for transport in get_args(Transport):
            yield from _idle(transport)


def _real(job: Path) -> Iterator[Figure]:
    with federation(SITES) as running:
        ran = [running.run(job) for _ in range(TIMES)]
        times = [read_times(running.root, each.report.job_id) for each in ran]
        start_seconds = running.start_seconds
    yield Figure("W4", "poc: start of 3 processes to all registered", "s", [start_seconds], Target(4))
    first = [noted.first_task - each.submitted for each, noted in zip(ran, times, strict=True)]
    yield Figure("W4", "poc: submit to first task, numpy job", "s", first, Target(1.5))
    last = [each.ended - noted.rounds[-1] for each, noted in zip(ran, times, strict=True)]
    yield Figure("W4", "poc: last round to end state", "s", last, Target(1))


def _idle(transport: Transport) -> Iterator[Figure]:
    with federation(SITES, transport) as running:
        resident = {name: memory_bytes(running.pid(name), "VmRSS") / 1e6 for name in ("server", "site-1")}
    for name, megabytes in resident.items():
        yield Figure("W4", f"resident memory of an idle daemon, {transport}: {name}", "MB", [megabytes], Target(80))


def _help_seconds() -> float:
    began = time.monotonic()
    subprocess.run([*PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _simulator_seconds(job: Path, root: Path) -> float:
    done = simulate(job, root, SITES)
    return read_times(root, done.report["job_id"]).first_task - done.began
