"""W3: what many virtual sites cost in the simulator: 10, 100 and 1,000 of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from .figures import Figure, Row, figures_of
from .memory import is_measurable
from .noop_job import MEDIUM
from .simulated import SimulatedNoop, simulate_noop

ROUNDS = 5
TIMES = {10: 3, 100: 3, 1000: 1}
DEADLINE_SECONDS = 120.0
"""Per command."""


def many_sites() -> Iterator[Figure]:
    """Seconds of the whole command, to the first task and per round; memory at its peak."""
    for sites, times in TIMES.items():
        yield from figures_of(partial(_simulated, sites, times), _rows(sites))


def _simulated(sites: int, times: int) -> list[SimulatedNoop]:
    return [simulate_noop(MEDIUM, rounds=ROUNDS, sites=sites, deadline_seconds=DEADLINE_SECONDS, is_watched=True) for _ in range(times)]


def _rows(sites: int) -> list[Row[list[SimulatedNoop]]]:
    key, what = f"W3 {sites} sites", f"{sites:,} virtual sites"
    rows: list[Row[list[SimulatedNoop]]] = [
        Row(key, f"{what}, whole command", "s", lambda runs: [run.seconds for run in runs]),
        Row(f"{key}, first task", f"{what}, command to first task", "s", lambda runs: [run.first_task_seconds for run in runs]),
        Row(f"{key}, round", f"{what}, a round", "s", lambda runs: [seconds for run in runs for seconds in run.round_seconds]),
    ]
    if is_measurable():
        rows.append(Row(f"{key}, memory", f"{what}, peak memory", "MB", lambda runs: [run.peak_mb for run in runs]))
    return rows
