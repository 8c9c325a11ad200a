"""Ctrl-C in a simulation: at whatever moment it comes, the first one ends it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Marked

JOB = Path(__file__).resolve().parents[2] / "examples" / "hello-numpy"
ENDED_SECONDS = 30.0
"""Far more than it takes here, for a machine that is busy with other tests; before, it was for ever."""
_random = random.Random(7)
FRACTIONS = sorted(_random.uniform(0.01, 0.95) for _ in range(10))
"""Of all that happens in an undisturbed simulation."""

COUNTING = """
import sys
from sundog.kits.cli.main import main
from sundog.kits.job.mailbox import Mailbox
from sundog.kits.site.site import Site
from sundog.transports.link.link import Link

wanted, happened = int(sys.argv.pop(1)), 0

def counted(kind, name):
    real = getattr(kind, name)

    def call(*arguments, **named):
        global happened
        happened += 1
        if happened == wanted:
            print("now", file=sys.stderr, flush=True)
        return real(*arguments, **named)

    setattr(kind, name, call)

for kind, name in ((Site, "__init__"), (Site, "start"), (Link, "send"), (Mailbox, "post")):
    counted(kind, name)
if not wanted:
    import os
    leave = os._exit

    def tell(status):
        print("happened", happened, file=sys.stderr, flush=True)
        leave(status)

    os._exit = tell
main()
"""


@pytest.fixture
def simulation(marked: Marked, tmp_path: Path) -> Callable[[int, int], subprocess.Popen[str]]:
    """Start one with so many sites; it says "now" when so many things have happened, or, for none, how many did in the end."""

    def start(sites: int, moment: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-c", COUNTING, str(moment), "simulate", str(JOB), "-n", str(sites), "-w", str(tmp_path / "w")]
        return marked.popen(*command, stdout=subprocess.DEVNULL)

    return start


def events_of(process: subprocess.Popen[str]) -> int:
    _, words = process.communicate(timeout=200)
    assert process.returncode == 0, words
    return int(words.rpartition("happened ")[2])


def interrupt(process: subprocess.Popen[str]) -> tuple[float, str]:
    """Send it Ctrl-C once it says so; how long it took then, and its last words."""
    assert process.stderr is not None
    assert process.stderr.readline() == "now\n"
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=ENDED_SECONDS)
    return time.monotonic() - begun, words


def test_the_first_ctrl_c_ends_a_simulation(simulation: Callable[[int, int], subprocess.Popen[str]]) -> None:
    everything = events_of(simulation(20, 0))

    for fraction in FRACTIONS[::3]:
        process = simulation(20, int(fraction * everything))
        _, words = interrupt(process)

        assert process.returncode == 130, words
        assert words.strip().startswith("aborted by you"), words


@pytest.mark.campaign
def test_a_thousand_sites_end_within_two_seconds_of_the_first_ctrl_c(simulation: Callable[[int, int], subprocess.Popen[str]]) -> None:
    everything, late = events_of(simulation(1000, 0)), []

    for fraction in FRACTIONS:
        process = simulation(1000, int(fraction * everything))
        seconds, words = interrupt(process)

        assert process.returncode == 130, words
        told = f"at {fraction:.0%} of {everything}: {seconds:.2f} s: {words.strip()}"
        print(told)
        late += [told] if seconds > 2 else []
    assert late == []
