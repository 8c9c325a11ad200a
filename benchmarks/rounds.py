"""What a round costs (W1: a model of 1,000 parameters; W2: of 100 MB and of 1 GB), in time and in memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from .federation import TRANSPORTS
from .figures import Figure, Row, figures_of
from .journal import appends
from .memory import is_measurable
from .noop_job import HUGE, LARGE, SMALL, Size
from .processes import MB, Plan, Processes, measure_processes
from .raw import plain_rounds, raw_rounds
from .simulated import SimulatedNoop, simulate_noop

SITES, MANY_SITES = 2, 8
SMALL_ROUNDS, LARGE_ROUNDS, HUGE_ROUNDS = 200, 6, 4
RAW_SMALL_ROUNDS = 1000
BASELINE_ROUNDS = (6,)
"""Of the small job before a large one."""
LARGE_DEADLINE_SECONDS = 600.0
"""Per job."""
Measured = TypeVar("Measured")


@dataclass
class Limit:
    """The limit, measured before and after what is compared with it: a machine that others use drifts."""

    rounds: Callable[[Size, int], list[float]]
    size: Size
    count: int
    unit_seconds: float = 1.0
    seconds: list[float] = field(default_factory=list)

    def around(self, measure: Callable[[], Measured]) -> Callable[[], Measured]:
        """The same measurement between two of the limit."""

        def measured() -> Measured:
            self.seconds += self.rounds(self.size, self.count)[1:]
            result = measure()
            self.seconds += self.rounds(self.size, self.count)[1:]
            return result

        return measured

    def median(self, _measured: object) -> float:
        return statistics.median(self.seconds) / self.unit_seconds


def small_rounds() -> Iterator[Figure]:
    """W1: nothing but the overhead."""
    plain = Limit(plain_rounds, SMALL, RAW_SMALL_ROUNDS, unit_seconds=1e-3)

    def simulated() -> SimulatedNoop:
        return simulate_noop(SMALL, rounds=SMALL_ROUNDS, sites=SITES)

    what = "empty round, simulator"
    rows: list[Row[SimulatedNoop]] = [Row("W1 simulator", what, "ms", lambda done: _milliseconds(done.round_seconds), plain.median)]
    yield from figures_of(plain.around(simulated), rows)
    for transport in TRANSPORTS:
        yield from _small_processes(transport)
    yield from appends()


def _small_processes(transport: str) -> Iterator[Figure]:
    raw = Limit(raw_rounds, SMALL, RAW_SMALL_ROUNDS, unit_seconds=1e-3)

    def measure() -> Processes:
        return measure_processes(SITES, transport, Plan([SMALL_ROUNDS]))

    rows: list[Row[Processes]] = [
        Row("W1 processes", "empty round, processes", "ms", lambda done: _milliseconds(done.small_round_seconds), raw.median, transport)
    ]
    yield from figures_of(raw.around(measure), rows)


def large_rounds() -> Iterator[Figure]:
    """W2: a model that must travel, and the memory that this takes."""
    yield from _simulated(LARGE, LARGE_ROUNDS)
    for transport in TRANSPORTS:
        yield from _processes(LARGE, LARGE_ROUNDS, transport)
    yield from _processes(LARGE, LARGE_ROUNDS, "tcp", MANY_SITES)
    yield from _simulated(HUGE, HUGE_ROUNDS)
    yield from _processes(HUGE, HUGE_ROUNDS, "tcp")


def _simulated(size: Size, rounds: int) -> Iterator[Figure]:
    raw = Limit(raw_rounds, size, rounds)

    def measure() -> SimulatedNoop:
        return simulate_noop(size, rounds=rounds, sites=SITES, deadline_seconds=LARGE_DEADLINE_SECONDS, is_watched=True)

    key = f"W2 {size.name}, simulator"
    rows: list[Row[SimulatedNoop]] = [Row(key, f"{size.name} round, simulator", "s", lambda done: done.round_seconds, raw.median)]
    if is_measurable():
        rows.append(Row(f"{key}, memory", f"{size.name}, simulator, peak memory", "MB", lambda done: [done.peak_mb]))
    yield from figures_of(raw.around(measure), rows)


def _processes(size: Size, rounds: int, transport: str, sites: int = SITES) -> Iterator[Figure]:
    raw = Limit(partial(raw_rounds, clients=sites), size, rounds)

    def measure() -> Processes:
        return measure_processes(sites, transport, Plan(BASELINE_ROUNDS, size, rounds, LARGE_DEADLINE_SECONDS))

    def grown(name: str, done: Processes) -> list[float]:
        return [done.grown_mb[name] * MB / size.size_bytes]

    what = size.name if sites == SITES else f"{size.name}, {sites} sites"
    key, round_of = f"W2 {what}", f"{size.name} round, processes{'' if sites == SITES else f', {sites} sites'}"
    rows: list[Row[Processes]] = [Row(f"{key}, processes", round_of, "s", lambda done: done.large_round_seconds, raw.median, transport)]
    if is_measurable():
        server, site = f"{what}: the server grows by", f"{what}: a site grows by"
        rows += [
            Row(f"{key}, memory of the server", server, "models", partial(grown, "server"), transport=transport),
            Row(f"{key}, memory of a site", site, "models", partial(grown, "site-1"), lambda _: 1.0, transport),
        ]
    yield from figures_of(raw.around(measure), rows)


def _milliseconds(seconds: list[float]) -> list[float]:
    return [each * 1000 for each in seconds]
