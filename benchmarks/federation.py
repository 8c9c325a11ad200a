"""How is a job run by real processes? By a federation on this machine: a server, sites, their job processes, over one wire."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sundog.kits.admin.session import Session
from sundog.kits.poc.federation import Federation
from sundog.kits.poc.layout import Poc, Transport, make_poc
from sundog.kits.protocol.answers import JobReport
from sundog.kits.supervisor.interrupts import Interrupts
from sundog.kits.workspace.folders import Workspace
from sundog.kits.workspace.posix import lock_holder

from .simulated import JobFailed


@dataclass(frozen=True)
class Ran:
    """A job that was run; times on the monotonic clock."""

    report: JobReport
    submitted: float
    ended: float
    """When the admin heard of its end."""


@dataclass(frozen=True)
class Running:
    """A federation at work."""

    root: Path
    session: Session
    start_seconds: float
    """From the first process to the last site's registration."""

    def pid(self, name: str) -> int:
        """The supervisor's process of a participant."""
        return lock_holder(Workspace(self.root / name).lock)

    def run(self, job: Path) -> Ran:
        """Submit a job and wait for its end.

        Raises:
            JobFailed: the end is not COMPLETED.
        """
        submitted = time.monotonic()
        report = self.session.monitor_job(self.session.submit_job(job))
        if report.status != "FINISHED:COMPLETED":
            raise JobFailed(f"{report.status}: {report.reason}")
        return Ran(report, submitted, time.monotonic())


@contextmanager
def federation(sites: int, transport: Transport = "tcp") -> Iterator[Running]:
    """A server and sites as real processes, in a temporary folder, on free ports."""
    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as folder, Interrupts() as interrupts:
        root = Path(folder) / "poc"
        make_poc(root, Poc(sites=sites, transport=transport, fl_port=0, admin_port=0))
        with Federation(root, interrupts) as processes:
            began = time.monotonic()
            processes.start()
            with Session(root / "admin") as session:
                processes.wait_registered(session)
                with interrupts.allowed():
                    yield Running(root, session, time.monotonic() - began)
