"""What does a round cost (W1: a model of 1,000 parameters; W2: one of 100 MB), in time and in memory?"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sundog.kits.poc.layout import Transport

from .federation import Running, federation
from .figures import Figure, Target
from .journal import appends
from .memory import PeakMemory, is_measurable
from .noop_job import LARGE, SMALL, Size, read_times, write_noop_job
from .raw import raw_rounds
from .simulated import simulate

SITES, MANY_SITES = 2, 8
SMALL_ROUNDS, LARGE_ROUNDS = 200, 6
RAW_SMALL_ROUNDS = 1000
MB = 1e6
EMPTY_ROUND_MS: dict[Transport, float] = {"tcp": 10, "zmq": 10, "grpc": 15}
LARGE_ROUND_RATIO: dict[Transport, float] = {"tcp": 6, "zmq": 9, "grpc": 9}


def small_rounds() -> Iterator[Figure]:
    """W1: nothing but the overhead."""
    raw = _Raw(SMALL, RAW_SMALL_ROUNDS)
    with raw.around():
        values = _simulated(SMALL, SMALL_ROUNDS)
    yield Figure("W1", "empty round, 2 sites, simulator", "ms", values, Target(3), raw.milliseconds)
    for transport, target in EMPTY_ROUND_MS.items():
        with federation(SITES, transport) as running, raw.around():
            values = _real(running, SMALL, SMALL_ROUNDS, SITES)
        yield Figure("W1", f"empty round, 2 sites, processes, {transport}", "ms", values, Target(target), raw.milliseconds)
    yield from appends()


def large_rounds() -> Iterator[Figure]:
    """W2: a model that must travel, and the memory that this takes."""
    raw = _Raw(LARGE, LARGE_ROUNDS)
    with raw.around():
        values = _simulated(LARGE, LARGE_ROUNDS)
    yield Figure("W2", "100 MB round, 2 sites, simulator", "ms", values, Target(5, is_ratio=True), raw.milliseconds)
    grown = {}
    for transport, target in LARGE_ROUND_RATIO.items():
        with raw.around():
            grown[transport] = _Grown(SITES, transport)
        what = f"100 MB round, 2 sites, processes, {transport}"
        yield Figure("W2", what, "ms", grown[transport].milliseconds, Target(target, is_ratio=True), raw.milliseconds)
    few, many = grown["tcp"], _Grown(MANY_SITES, "tcp")
    yield Figure("W2", "100 MB round, 8 sites, processes, tcp", "ms", many.milliseconds)
    if is_measurable():
        yield Figure("W2", "server and its job process grow, 2 sites", "MB", [few.server_mb], Target(100))
        yield Figure("W2", "server and its job process grow, 8 sites", "MB", [many.server_mb], Target(100))
        yield Figure("W2", "the same, beside that for 2 sites", "MB", [many.server_mb], Target(1.2, is_ratio=True), few.server_mb)
        yield Figure("W2", "a site and its job process grow", "MB", [few.site_mb], Target(2, is_ratio=True), LARGE.size_bytes / MB)


class _Raw:
    """The limit, measured before and after what is compared with it: a machine that others use drifts."""

    def __init__(self, size: Size, rounds: int) -> None:
        self._size, self._rounds = size, rounds
        self.milliseconds = 0.0

    @contextmanager
    def around(self) -> Iterator[None]:
        seconds = raw_rounds(self._size, self._rounds)[1:]
        yield
        seconds += raw_rounds(self._size, self._rounds)[1:]
        self.milliseconds = statistics.median(seconds) * 1000


class _Grown:
    """A federation runs the small job, then the large one: what the second takes beyond the first is for the model."""

    def __init__(self, sites: int, transport: Transport) -> None:
        with federation(sites, transport) as running:
            server, site = running.pid("server"), running.pid("site-1")
            with PeakMemory([server, site]) as before:
                _real(running, SMALL, LARGE_ROUNDS, sites)
            with PeakMemory([server, site]) as after:
                self.milliseconds = _real(running, LARGE, LARGE_ROUNDS, sites)
        self.server_mb, self.site_mb = ((after.peak_bytes[pid] - before.peak_bytes[pid]) / MB for pid in (server, site))


def _simulated(size: Size, rounds: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as folder:
        job = write_noop_job(Path(folder) / "job", size, rounds=rounds, sites=SITES)
        done = simulate(job, Path(folder) / "simulation", SITES)
        return _milliseconds(done.root, done.report["job_id"])


def _real(running: Running, size: Size, rounds: int, sites: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as folder:
        ran = running.run(write_noop_job(Path(folder) / "job", size, rounds=rounds, sites=sites))
    return _milliseconds(running.root, ran.report.job_id)


def _milliseconds(root: Path, job_id: str) -> list[float]:
    return [seconds * 1000 for seconds in read_times(root, job_id).per_round]
