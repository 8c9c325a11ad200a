"""A federation of real processes on this machine: a server, sites, their job processes, over one transport."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sundog import Session, SundogError

from .noop_job import Size, Times, take_times, write_noop_job
from .program import NotMeasured, run_program

TRANSPORTS = ("tcp", "zmq", "grpc")
DEADLINE_SECONDS = 300.0


@dataclass(frozen=True)
class Ran:
    """A job that has run; times on the monotonic clock."""

    submitted: float
    times: Times
    ended: float
    """When the admin was notified of its end."""


@dataclass(frozen=True)
class Federation:
    """A federation at work."""

    root: Path
    sites: int
    session: Session
    start_seconds: float
    """Duration of `sundog poc start`, which returns when every site is registered."""

    def pid(self, name: str) -> int:
        """The process of a participant: the one that was given its folder."""
        folder = str(self.root / name).encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and folder in _arguments(entry):
                return int(entry.name)
        raise NotMeasured(f"{name} is not running")

    def run_noop(self, size: Size, rounds: int, deadline_seconds: float = DEADLINE_SECONDS) -> Ran:
        """Submit the job without work and wait for its end. Raises: NotMeasured."""
        with tempfile.TemporaryDirectory(prefix="sundog-bench-") as folder:
            job = write_noop_job(Path(folder) / "job", size, rounds=rounds, sites=self.sites)
            submitted, ended = self._run(job, deadline_seconds)
            return Ran(submitted, take_times(job), ended)

    def _run(self, job: Path, deadline_seconds: float) -> tuple[float, float]:
        submitted = time.monotonic()
        try:
            report = self.session.monitor_job(self.session.submit_job(job), timeout=deadline_seconds)
        except SundogError as exc:
            raise NotMeasured(str(exc)) from exc
        if report.status != "FINISHED:COMPLETED":
            raise NotMeasured(f"{report.status}: {report.reason}")
        return submitted, time.monotonic()


@contextmanager
def federation(sites: int, transport: str = "tcp") -> Iterator[Federation]:
    """A server and sites as real processes, in a temporary folder, on free ports. Raises: NotMeasured."""
    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as folder:
        root = Path(folder).resolve() / "poc"
        run_program("poc", "-n", str(sites), "-w", str(root), "--transport", transport, "--fl-port", "0", "--admin-port", "0")
        began = time.monotonic()
        run_program("poc", "start", "-w", str(root))
        try:
            seconds = time.monotonic() - began
            with Session(root / "admin") as session:
                yield Federation(root, sites, session, seconds)
        finally:
            run_program("poc", "stop", "-w", str(root))


def _arguments(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended meanwhile
        return []
