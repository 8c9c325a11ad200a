"""W5: what real training costs in the simulator, beside a plain loop that does the same."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .figures import Figure, Row, figures_of
from .simulated import Simulated, simulate

JOB = Path(__file__).parent / "jobs" / "digits"
ROOT = Path(__file__).parent.parent
SITES = 4
TIMES = 3


@dataclass(frozen=True)
class Digits:
    """What was measured: seconds of each run, and the accuracy of the last."""

    ours: list[float]
    loop: list[float]
    our_accuracy: float
    loop_accuracy: float


def digits() -> Iterator[Figure]:
    """Seconds of the whole command, and accuracy."""
    what = "digits, 4 sites, 20 rounds, simulator, whole command"
    rows: list[Row[Digits]] = [
        Row("W5 simulator", what, "s", lambda done: done.ours, lambda done: statistics.median(done.loop)),
        Row("W5 test error", "test error", "%", lambda done: [_error(done.our_accuracy)], lambda done: _error(done.loop_accuracy)),
    ]
    yield from figures_of(_measure, rows)


def _measure() -> Digits:
    from .digits_loop import accuracy_of

    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as temporary:
        folder = Path(temporary)
        loop, ours = [], []
        for number in range(TIMES):  # in turns: a machine that others use drifts
            loop.append(_loop_seconds(folder / "loop.safetensors"))
            done = simulate_digits(folder / f"simulation-{number}")
            ours.append(done.seconds)
        return Digits(ours, loop, accuracy_of(Path(done.report["model_path"])), accuracy_of(folder / "loop.safetensors"))


def _error(accuracy: float) -> float:
    return 100 * (1 - accuracy)


def simulate_digits(root: Path) -> Simulated:
    """Run the training job. Raises: NotMeasured."""
    return simulate(JOB, root, SITES)


def _loop_seconds(model: Path) -> float:
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "benchmarks.digits_loop", str(model)], check=True, cwd=ROOT, env=environment)
    return time.monotonic() - began
