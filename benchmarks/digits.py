"""W5: what does real training cost in the simulator, beside a plain loop that does the same?"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .figures import Figure, Target
from .simulated import simulate

JOB = Path(__file__).parent / "jobs" / "digits"
ROOT = Path(__file__).parent.parent
SITES = 4
TIMES = 3


def digits() -> Iterator[Figure]:
    """Seconds of the whole command, and accuracy."""
    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as temporary:
        folder = Path(temporary)
        loop, ours = [], []
        for number in range(TIMES):  # in turns: a machine that others use drifts
            loop.append(_loop_seconds(folder / "loop.safetensors"))
            done = simulate(JOB, folder / f"simulation-{number}", SITES)
            ours.append(done.seconds)
        limit = statistics.median(loop)
        yield Figure("W5", "digits, 4 sites, 20 rounds, simulator, whole command", "s", ours, Target(8), limit)
        yield from _accuracies(Path(done.report["model_path"]), folder / "loop.safetensors")


def _loop_seconds(model: Path) -> float:
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "benchmarks.digits_loop", str(model)], check=True, cwd=ROOT, env=environment)
    return time.monotonic() - began


def _accuracies(ours: Path, loop: Path) -> Iterator[Figure]:
    from .digits_loop import accuracy_of  # torch; after what is timed

    yield Figure("W5", "pictures not recognised, of 100", "", [100 * (1 - accuracy_of(ours))], None, 100 * (1 - accuracy_of(loop)))
