"""Measurements that two source trees are compared by: `python -m benchmarks.measures NAME` prints one as JSON.

They use what every tree has: the programs, `sundog.Session`, and job folders.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import sundog

from .digits import simulate_digits
from .federation import TRANSPORTS
from .noop_job import LARGE, MEDIUM, SMALL
from .processes import MEASURED, Plan, measure_processes
from .program import NotMeasured
from .simulated import simulate_noop
from .startup import help_seconds

Values = dict[str, float]
"""Row, with its unit at the end → value; less is better."""
SITES = 2
SMALL_ROUNDS, LARGE_ROUNDS, MANY_ROUNDS = 200, 6, 5
SHORT_ROUNDS = 3
"""Of jobs that are run for their start and their end."""
HELP_TIMES = 5
DEADLINE_SECONDS = 120.0
"""Per job."""


def _help() -> Values:
    return {"W4 sundog --help, s": statistics.median(help_seconds(HELP_TIMES))}


def _simulator() -> Values:
    done = simulate_noop(SMALL, rounds=SMALL_ROUNDS, sites=SITES, deadline_seconds=DEADLINE_SECONDS)
    return {
        "W1 simulator: empty round, ms": statistics.median(done.round_seconds) * 1000,
        "W4 simulator: command to first task, s": done.first_task_seconds,
    }


def _simulator_large() -> Values:
    done = simulate_noop(LARGE, rounds=LARGE_ROUNDS, sites=SITES, deadline_seconds=DEADLINE_SECONDS)
    return {"W2 simulator: 100 MB round, s": statistics.median(done.round_seconds)}


def _processes(transport: str) -> Values:
    plan = Plan([SMALL_ROUNDS, SHORT_ROUNDS, SHORT_ROUNDS, LARGE_ROUNDS], LARGE, LARGE_ROUNDS, DEADLINE_SECONDS)
    done = measure_processes(SITES, transport, plan)
    return {
        f"W1 {transport}: empty round, ms": statistics.median(done.small_round_seconds) * 1000,
        f"W2 {transport}: 100 MB round, s": statistics.median(done.large_round_seconds),
        **{f"W2 {transport}: {name} grows by, MB": grown for name, grown in done.grown_mb.items()},
        f"W4 {transport}: poc start, s": done.start_seconds,
        f"W4 {transport}: submit to first task, s": statistics.median(done.submit_seconds),
        f"W4 {transport}: last round to end state, s": statistics.median(done.end_seconds),
        **{f"W4 {transport}: {name} idle, MB": done.idle_mb[name] for name in MEASURED if name in done.idle_mb},
    }


def _sites(sites: int) -> Values:
    done = simulate_noop(MEDIUM, rounds=MANY_ROUNDS, sites=sites, deadline_seconds=DEADLINE_SECONDS, is_watched=True)
    return {
        f"W3 {sites} sites: whole command, s": done.seconds,
        f"W3 {sites} sites: a round, s": statistics.median(done.round_seconds),
        **({f"W3 {sites} sites: peak memory, MB": done.peak_mb} if done.peak_mb else {}),
    }


def _training() -> Values:
    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as folder:
        return {"W5 digits: whole command, s": simulate_digits(Path(folder) / "simulation").seconds}


MEASURES: dict[str, Callable[[], Values]] = {
    "help": _help,
    "simulator": _simulator,
    **{transport: partial(_processes, transport) for transport in TRANSPORTS},
    "simulator-100MB": _simulator_large,
    "sites-10": partial(_sites, 10),
    "sites-100": partial(_sites, 100),
    "sites-1000": partial(_sites, 1000),
    "training": _training,
}
SLOW = {"sites-1000"}
"""Left out unless they are named."""


def main() -> None:
    """Print which package was measured, its values, and why there are none."""
    values, problem = {}, ""
    try:
        values = MEASURES[sys.argv[1]]()
    except NotMeasured as exc:
        problem = str(exc).splitlines()[0]
    print(json.dumps({"package": sundog.__file__, "values": values, "problem": problem}))


if __name__ == "__main__":
    main()
