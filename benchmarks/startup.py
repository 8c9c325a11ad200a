"""W4: how long until something happens, and what waiting costs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from functools import partial

from .federation import TRANSPORTS
from .figures import Figure, Row, figures_of
from .noop_job import SMALL
from .processes import MEASURED, Plan, Processes, measure_processes
from .program import PROGRAM
from .simulated import simulate_noop

TIMES = 5
SITES = 2
ROUNDS = 3


def startups() -> Iterator[Figure]:
    """Seconds to the first sign of life of each program; memory of daemons that have nothing to do."""
    yield Figure("W4 help", "sundog --help", "s", help_seconds(TIMES))
    yield from figures_of(
        lambda: [simulate_noop(SMALL, rounds=ROUNDS, sites=SITES) for _ in range(TIMES)],
        [Row("W4 simulator, first task", "simulator: command to first task", "s", lambda runs: [run.first_task_seconds for run in runs])],
    )
    for transport in TRANSPORTS:
        plan = Plan([ROUNDS] * TIMES)
        yield from figures_of(partial(measure_processes, SITES, transport, plan), _rows(transport))


def help_seconds(times: int) -> list[float]:
    """What `sundog --help` takes."""
    seconds = []
    for _ in range(times):
        began = time.monotonic()
        subprocess.run([*PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - began)
    return seconds


def _rows(transport: str) -> list[Row[Processes]]:
    return [
        Row("W4 processes, start", "sundog poc start, 2 sites", "s", lambda done: [done.start_seconds], transport=transport),
        Row("W4 processes, first task", "submit to first task, numpy job", "s", lambda done: done.submit_seconds, transport=transport),
        Row("W4 processes, end", "last round to end state", "s", lambda done: done.end_seconds, transport=transport),
        *(Row(f"W4 idle {name}", f"{name}, idle, resident memory", "MB", partial(_idle, name), transport=transport) for name in MEASURED),
    ]


def _idle(name: str, measured: Processes) -> list[float]:
    return [measured.idle_mb[name]] if measured.idle_mb else []
