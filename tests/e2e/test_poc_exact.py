"""The job that must be repeated exactly, on the real processes of a POC: one model on each wire, whichever job process is killed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import sundog
from sundog.kits.poc.layout import TRANSPORTS, Poc, write_poc
from sundog.kits.protocol.answers import JobReport
from sundog.kits.workspace import posix

from .exact import exact_job, left_in
from .test_poc_jobs import COMPLETED, END_SECONDS, at_work

PARTICIPANTS = ("server", "site-1", "site-2")
REPORTS = 9
"""How often an undisturbed run is heard of, at least: its start, and each closed step."""


@dataclass(frozen=True)
class Outcome:
    """What a run of the job must give, wherever it runs."""

    status: str
    model_sha256: str
    used: list[tuple[str, int, list[str]]]
    files: dict[str, str]


def outcome(report: JobReport, run_folder: Path) -> Outcome:
    used = [(one.workflow, one.round, list(one.used)) for one in report.rounds]
    return Outcome(report.status, report.model_sha256, used, left_in(run_folder))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    root = tmp_path_factory.mktemp("simulated")
    report = sundog.simulate(exact_job(root / "job"), sites=2, workspace=root / "w")
    assert report.status == COMPLETED
    return outcome(report, root / "w" / "server" / "runs" / report.job_id)


def run_on(transport: str, root: Path, heard: Callable[[JobReport], object] = lambda _report: None) -> Outcome:
    poc = root / "poc"
    write_poc(poc, Poc(sites=2, transport=transport, fl_port=0, admin_port=0))  # type: ignore[arg-type]  # one of TRANSPORTS
    with at_work(poc) as session:
        job_id = session.submit_job(exact_job(root / "job"))
        report = session.monitor_job(job_id, heard, timeout=END_SECONDS)
    return outcome(report, poc / "server" / "runs" / job_id)


@dataclass
class Killer:
    """Kills a participant's job process when the run has been heard of for the n-th time."""

    participant: str
    at: int
    killed: int = 0

    def __call__(self, report: JobReport) -> None:
        self.at -= 1
        if self.at == 0:
            for pid in posix.processes_of_run(f"{report.job_id}/{self.participant}"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).kill()
                    self.killed += 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_each_wire_gives_what_the_simulator_gives(transport: str, simulated: Outcome, tmp_path: Path) -> None:
    assert run_on(transport, tmp_path) == simulated


@pytest.mark.parametrize("seed", [pytest.param(n, marks=[] if n < len(TRANSPORTS) else pytest.mark.campaign) for n in range(40)])
def test_a_killed_job_process_changes_nothing(seed: int, simulated: Outcome, tmp_path: Path) -> None:
    """Twenty moments at the server, twenty at a site, the wires in turn."""
    dice = random.Random(seed)
    participant = "server" if seed % 2 else dice.choice(PARTICIPANTS[1:])
    killer = Killer(participant, dice.randint(3, REPORTS))

    assert run_on(TRANSPORTS[seed % len(TRANSPORTS)], tmp_path, killer) == simulated
    assert killer.killed == 1
