"""Whole jobs between real processes: what do the network and the system see, and what does the admin hear?"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from sundog import Session
from sundog.kits.admin.loop_thread import LoopThread
from sundog.kits.poc.federation import Federation
from sundog.kits.poc.layout import TRANSPORTS, Poc, write_poc
from sundog.kits.supervisor.interrupts import Interrupts
from sundog.kits.workspace import posix
from sundog.kits.workspace.kit import SiteKit, read_kit, write_kit
from sundog.transports.link.intake import STREAM_CREDIT_BYTES

from ..faults.proxy import Proxy
from .jobs import JobFolder, custom, executor, training

END_SECONDS = 60.0
MB = 1_000_000
COMPLETED, FAILED = "FINISHED:COMPLETED", "FINISHED:EXECUTION_EXCEPTION"
CODE = """
import os
import signal
from pathlib import Path

import numpy as np

from sundog import Executor, Persistor, Shareable


def once(name):
    path = Path(name)
    return not path.exists() and (path.touch() or True)


class Start(Persistor):
    def __init__(self, size: int):
        self.size = size

    def load(self):
        return Shareable("WEIGHTS", {"w": np.arange(self.size, dtype=np.float32)})

    def save(self, model):
        pass


class Trainer(Executor):
    def execute(self, task, ctx):
        with (ctx.folder / "executed.txt").open("a") as file:
            file.write(f"{task.step} {task.id}\\n")
        if ctx.site == "site-1":
            LINE
        step = 1 + (ctx.site == "site-2")  # results that are equal would travel once
        return Shareable("WEIGHTS", {n: a + step for n, a in task.model.tensors.items()}, {"num_examples": 1})
"""
LINE = 1 + CODE[: CODE.index("LINE")].count("\n")
"""Where in code_e2e.py the line stands that a test puts there."""


def job_of(root: Path, line: str, *, rounds: int = 1, size: int = 9) -> Path:
    """Sites add something to `size` float32; at site-1 this line is executed first."""
    job = JobFolder(root, [training(rounds)], [executor(custom("Trainer"))], code=CODE.replace("LINE", line))
    parts = [part for part in job.server["components"] if part["id"] != "persistor"]
    job.server["components"] = [*parts, {"id": "persistor", **custom("Start", size=size)}]
    return job.write()


@contextmanager
def at_work(poc: Path) -> Iterator[Session]:
    """An admin of a federation whose sites are all there."""
    with Interrupts() as interrupts, Federation(poc, interrupts) as federation:
        federation.start()
        with Session(poc / "admin") as session:
            federation.wait_registered(session)
            yield session


def supervisor_of(poc: Path, name: str) -> psutil.Process:
    return psutil.Process(posix.lock_holder(poc / name / "state" / "lock"))


def executed(poc: Path, job_id: str, site: str = "site-1") -> list[str]:
    """The step of each execution at a site."""
    lines = (poc / site / "runs" / job_id / "executed.txt").read_text().splitlines()
    return [line.split()[0] for line in lines]


def left_of(job_id: str) -> list[int]:
    """Processes that carry the job's mark and do not end; a site ends its own when it hears of the end, which is a little later."""
    found = [pid for name in ("server", "site-1", "site-2") for pid in posix.processes_of_run(f"{job_id}/{name}")]
    return [process.pid for process in psutil.wait_procs([process for pid in found for process in _process(pid)], timeout=END_SECONDS)[1]]


def _process(pid: int) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return []


class Gate:
    """A pipe at which the trainer of site-1 waits."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path
        self.line = f"open({str(path)!r}).read()"

    def open(self) -> None:
        """Wait until it is there, and let it pass."""
        self._path.open("w").close()


# --- ports ----------------------------------------------------------------------------------------------------------


def listening(process: psutil.Process) -> list[int]:
    """The ports at which a process and all that it started listen."""
    family = [process, *process.children(recursive=True)]
    return [socket.laddr.port for one in family for socket in one.net_connections(kind="all") if _listens(socket)]


def _listens(socket: Any) -> bool:
    return bool(socket.status == psutil.CONN_LISTEN)


def test_one_port_is_open_at_the_server_and_none_at_the_sites(poc: Path, tmp_path: Path) -> None:
    """T160: where sites and admins dial the same one; while a job is at work, so its processes count."""
    made = write_poc(poc, Poc(sites=2, fl_port=0, admin_port=0))
    write_poc(poc, msgspec.structs.replace(made, admin_port=made.fl_port))
    before, after = Gate(tmp_path / "before"), Gate(tmp_path / "after")
    with at_work(poc) as session:
        job_id = session.submit_job(job_of(tmp_path / "job", f"{before.line}; {after.line}"))
        before.open()
        found = {name: listening(supervisor_of(poc, name)) for name in ("server", "site-1", "site-2")}
        families = {name: len(supervisor_of(poc, name).children()) for name in found}
        after.open()
        report = session.monitor_job(job_id, timeout=END_SECONDS)

    assert report.status == COMPLETED, report
    assert families == {"server": 1, "site-1": 1, "site-2": 1}
    assert found == {"server": [made.fl_port], "site-1": [], "site-2": []}


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=TRANSPORTS)
def proxy(request: pytest.FixtureRequest, poc: Path) -> Iterator[Proxy]:
    """Stands between site-1 and the server."""
    made = write_poc(poc, Poc(sites=2, transport=request.param, fl_port=0, admin_port=0))
    thread = LoopThread("proxy")
    proxy = Proxy("127.0.0.1", made.fl_port)
    thread.call(proxy.start())
    kit, _ = read_kit(poc / "site-1", SiteKit)
    write_kit(poc / "site-1", msgspec.structs.replace(kit, endpoints=[made.address(proxy.port)]))
    yield proxy
    thread.call(proxy.close())
    thread.close()


def test_a_result_that_is_cut_in_the_middle_goes_on_there_and_nobody_trains_again(poc: Path, tmp_path: Path, proxy: Proxy) -> None:
    """T159 between real processes: 64 MB down, 64 MB up, and the link is cut at 60 % of the way up."""
    size_bytes = 64 * MB
    proxy.cuts_after_bytes = 1.6 * size_bytes
    with at_work(poc) as session:
        job = job_of(tmp_path / "job", "pass", size=size_bytes // 4)
        report = session.monitor_job(session.submit_job(job), timeout=END_SECONDS)

    assert report.status == COMPLETED, report
    assert [(done.used, done.late, done.missing) for done in report.rounds] == [(["site-1", "site-2"], [], [])]
    assert (proxy.cuts, proxy.connections) == (1, 2)
    assert executed(poc, report.job_id) == ["0"]
    assert executed(poc, report.job_id, "site-2") == ["0"]
    again = proxy.passed_bytes - 2 * size_bytes
    assert again < 1.1 * STREAM_CREDIT_BYTES + 4 * MB  # what was under way, and what the sockets and the proxy held


@pytest.mark.campaign
def test_a_wire_that_is_silent_for_twenty_seconds_is_left_and_the_result_goes_on(poc: Path, tmp_path: Path, proxy: Proxy) -> None:
    """T159 in real time: longer than a link lives without a sign of life; both sides give it up, and nobody trains again."""
    size_bytes = 64 * MB
    proxy.cuts_after_bytes, proxy.silent_seconds = 1.6 * size_bytes, 20.0
    with at_work(poc) as session:
        job = job_of(tmp_path / "job", "pass", size=size_bytes // 4)
        report = session.monitor_job(session.submit_job(job), timeout=2 * END_SECONDS)

    assert report.status == COMPLETED, report
    assert proxy.cuts == 1
    assert proxy.connections >= 2
    assert executed(poc, report.job_id) == ["0"]


def test_a_trainers_exception_is_heard_by_who_submitted_within_ten_seconds(poc: Path, tmp_path: Path) -> None:
    """The code of the error, the site, and the line of his own code."""
    gate = Gate(tmp_path / "gate")
    with at_work(poc) as session:
        job_id = session.submit_job(job_of(tmp_path / "job", f"{gate.line}; {{}}['learning rate']"))
        gate.open()
        begun = time.monotonic()
        report = session.monitor_job(job_id, timeout=END_SECONDS)
        seconds = time.monotonic() - begun
        left = left_of(report.job_id)

    assert report.status == FAILED
    assert seconds < 10.0
    assert report.failure is not None
    assert (report.failure.code, report.failure.site, report.failure.where) == ("SD-4090", "site-1", f"custom/code_e2e.py:{LINE}")
    assert report.failure.what == "KeyError: 'learning rate'"
    assert report.failure.cure
    assert left == []


@pytest.mark.parametrize("victim", ["server", "site-1"])
def test_a_job_process_that_is_killed_once_is_started_again(poc: Path, tmp_path: Path, victim: str) -> None:
    """At the server nobody trains again; at a site it is that task alone."""
    first, second = Gate(tmp_path / "first"), Gate(tmp_path / "second")
    line = f"task.step == 1 and once('seen') and ({first.line}, {second.line})"
    with at_work(poc) as session:
        job_id = session.submit_job(job_of(tmp_path / "job", line, rounds=3))
        first.open()
        (process,) = supervisor_of(poc, victim).children()
        process.kill()
        psutil.wait_procs([process], timeout=END_SECONDS)
        if victim == "server":
            second.open()
        report = session.monitor_job(job_id, timeout=END_SECONDS)
        left = left_of(job_id)

    assert report.status == COMPLETED, report
    assert [done.round for done in report.rounds] == [0, 1, 2]
    assert executed(poc, job_id) == (["0", "1", "2"] if victim == "server" else ["0", "1", "1", "2"])
    assert executed(poc, job_id, "site-2") == ["0", "1", "2"]
    assert left == []


def test_a_job_process_that_is_killed_each_time_ends_the_job_with_the_signal(poc: Path, tmp_path: Path) -> None:
    with at_work(poc) as session:
        job = job_of(tmp_path / "job", "os.kill(os.getpid(), signal.SIGKILL)")
        report = session.monitor_job(session.submit_job(job), timeout=END_SECONDS)
        left = left_of(report.job_id)

    assert report.status == FAILED
    assert report.failure is not None
    assert (report.failure.code, report.failure.site) == ("SD-4102", "site-1")
    assert "killed by signal 9 (SIGKILL)" in report.failure.what
    assert left == []
