"""Whole jobs with real job processes: server and sites in one process over inproc://, so that a test can look at them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sundog.components.launchers.process import ProcessLauncher
from sundog.components.resources.unlimited import AlwaysYes
from sundog.components.schedulers.fifo import FifoScheduler
from sundog.kernel.operator_roles import Launcher
from sundog.kits.protocol.answers import JobReport
from sundog.kits.protocol.records import JobChanged
from sundog.kits.server.server import Server
from sundog.kits.site.site import Site
from sundog.kits.supervisor import job_process
from sundog.kits.supervisor.means import Means
from sundog.kits.workspace import posix
from sundog.kits.workspace.folders import Workspace
from sundog.kits.workspace.journal import read_journal
from sundog.kits.workspace.kit import ServerKit, SiteKit
from sundog.transports.link import Intake, Writer
from sundog.transports.link.carrier import ConnectionReplaced

from .jobs import JobFolder, custom, executor, training

COMPLETED, FAILED, ABORTED = "FINISHED:COMPLETED", "FINISHED:EXECUTION_EXCEPTION", "FINISHED:ABORTED"


class Federation:
    """A server and its sites; what is submitted runs in processes of its own."""

    def __init__(
        self,
        root: Path,
        stack: AsyncExitStack,
        *,
        max_jobs: int = 4,
        listen: str = "",
        stall_seconds: float = 60.0,
        launcher: Launcher | None = None,
    ) -> None:
        self.root = root
        self.sites: dict[str, Site] = {}
        self._stack = stack
        self._launcher = launcher or ProcessLauncher()
        writer = Writer()
        stack.push_async_callback(writer.close)
        self.means = Means(writer, Intake(writer))
        address = listen or f"inproc://processes-{root.name}-{id(self)}"
        self.dialled = address
        """By sites that are added from now on."""
        kit = ServerKit(project="p", listen=address, admin_listen=address, stall_seconds=stall_seconds)
        self.server = Server(self._workspace("server"), kit, self.means, launcher=self._launcher, scheduler=FifoScheduler(max_jobs))

    async def start(self, *sites: str) -> None:
        await self._stack.enter_async_context(self.server)
        for name in sites:
            await self.add(name)
        await self.server.wait_for_sites(len(sites))

    async def add(self, name: str) -> None:
        kit = SiteKit(project="p", name=name, endpoints=[self.dialled])
        site = self.sites[name] = Site(self._workspace(name), kit, self.means, launcher=self._launcher, resources=AlwaysYes())
        await self._stack.enter_async_context(site)

    async def submit(self, job: JobFolder | Path) -> str:
        return (await self.server.jobs.take_in(job if isinstance(job, Path) else job.write())).id

    async def end(self, job_id: str) -> JobReport:
        seen: tuple[str, ...] = ("",)
        async with asyncio.timeout(50):
            while True:
                report = await self.server.jobs.next_report(job_id, seen)
                if report.is_end:
                    return report
                seen = (report.status,)

    async def closes(self, job_id: str, steps: int) -> None:
        """Wait until so many steps are closed."""
        async with asyncio.timeout(30):
            await self.server.jobs.wait_until(lambda: len(self.server.jobs.report(self.server.jobs.table.find(job_id)).rounds) >= steps)

    def process_at(self, participant: str, job_id: str) -> psutil.Process:
        runs = self.server.runs if participant == "server" else self.sites[participant].runs
        process = runs[job_id]._process
        assert process is not None
        return psutil.Process(process.pid)

    def _workspace(self, name: str) -> Workspace:
        (self.root / name / "startup").mkdir(parents=True)
        return Workspace(self.root / name).create()


@asynccontextmanager
async def federation_of(root: Path, *sites: str, **limits: Any) -> AsyncIterator[Federation]:
    async with AsyncExitStack() as stack:
        made = Federation(root, stack, **limits)
        await made.start(*sites)
        yield made


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    async with federation_of(tmp_path / "f", "site-1", "site-2") as made:
        yield made


class Gate:
    """A pipe at which job code at one site waits until a test lets it pass; each sees that the other is there."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path

    @property
    def code(self) -> str:
        """A line of Python."""
        return f"open({str(self._path)!r}).read()"

    async def open(self) -> None:
        """Wait until the job is there, and let it pass."""
        await asyncio.get_running_loop().run_in_executor(None, lambda: self._path.open("w").close())


def trainer(root: Path, line: str, *, rounds: int = 2, site: str = "site-1", **more: object) -> JobFolder:
    """A job whose sites add one; at one of them this line is executed first, where `once(name)` is true the first time."""
    code = f"""
import os, signal
from pathlib import Path
from sundog import Executor, Shareable

def once(name):
    path = Path(name)
    return not path.exists() and (path.touch() or True)

class Trainer(Executor):
    def execute(self, task, ctx):
        with (ctx.folder / "executed.txt").open("a") as file:
            file.write(f"{{task.step}} {{task.id}}\\n")
        if ctx.site == {site!r}:
            {line}
        return Shareable("WEIGHTS", {{n: a + 1 for n, a in task.model.tensors.items()}}, {{"num_examples": 1}})
"""
    return JobFolder(root, [training(rounds, **more)], [executor(custom("Trainer"))], code=code)


def executed(federation: Federation, job_id: str, site: str = "site-1") -> list[list[str]]:
    """[step, task id] of each execution at a site."""
    lines = (federation.root / site / "runs" / job_id / "executed.txt").read_text().splitlines()
    return [line.split() for line in lines]


KILL = "os.kill(os.getpid(), signal.SIGKILL)"


async def test_a_job_goes_through_its_states_and_each_has_its_time(federation: Federation, tmp_path: Path) -> None:
    """T054, as the project's journal tells it; with job processes of its own."""
    job_id = await federation.submit(trainer(tmp_path / "job", "pass"))
    report = await federation.end(job_id)

    assert report.status == COMPLETED, report
    records = read_journal(federation.server.workspace.project_journal).records
    changes = [record for record in records if isinstance(record, JobChanged)]
    assert [change.status for change in changes] == ["SUBMITTED", "DISPATCHED", "RUNNING", COMPLETED]
    assert [change.time_seconds for change in changes] == sorted(change.time_seconds for change in changes)


async def test_a_sites_job_process_that_is_killed_is_started_again_with_the_same_task(federation: Federation, tmp_path: Path) -> None:
    """PROTOCOL §6; the other site's result is not asked for twice."""
    job_id = await federation.submit(trainer(tmp_path / "job", f"once('killed') and {KILL}"))
    report = await federation.end(job_id)

    assert report.status == COMPLETED, report
    steps = executed(federation, job_id)
    assert [step for step, _ in steps] == ["0", "0", "1"]
    assert steps[0] == steps[1]
    assert [step for step, _ in executed(federation, job_id, "site-2")] == ["0", "1"]


async def test_a_task_that_kills_its_process_again_and_again_has_failed_with_the_signal(federation: Federation, tmp_path: Path) -> None:
    job_id = await federation.submit(trainer(tmp_path / "job", f"print('last words', flush=True); {KILL}"))
    report = await federation.end(job_id)

    assert report.status == FAILED
    assert report.failure is not None
    assert (report.failure.code, report.failure.site) == ("SD-4102", "site-1")
    assert "killed by signal 9 (SIGKILL); last words: " in report.failure.what
    assert len(executed(federation, job_id)) == 3


async def test_the_servers_job_process_goes_on_after_the_last_commit(federation: Federation, tmp_path: Path) -> None:
    """PROTOCOL §8: nobody trains twice, whatever step it died in."""
    job = trainer(tmp_path / "job", "pass", rounds=3)
    job.code += """
from sundog import observe

class Killer:
    @observe
    def before_commit(self, step):
        if step == 1 and once("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
"""
    job.server["components"].append({"id": "killer", **custom("Killer")})

    job_id = await federation.submit(job)
    report = await federation.end(job_id)

    assert report.status == COMPLETED, report
    assert [done.round for done in report.rounds] == [0, 1, 2]
    assert [step for step, _ in executed(federation, job_id)] == ["0", "1", "2"]


async def test_each_metric_is_in_tensorboards_files_once_though_a_process_died(federation: Federation, tmp_path: Path) -> None:
    job = trainer(tmp_path / "job", "ctx.metrics.add_scalar('loss', task.step)", rounds=3)
    job.code += """
from sundog import observe

class Killer:
    @observe
    def metric_logged(self, step):
        self.read = step

    @observe
    def before_commit(self, step):
        if step == 2 and self.read and once("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
"""
    job.server["components"] += [{"id": "killer", **custom("Killer")}, {"id": "tracker", "name": "TBAnalyticsReceiver"}]

    job_id = await federation.submit(job)
    report = await federation.end(job_id)

    assert report.status == COMPLETED, report
    run = federation.root / "server" / "runs" / job_id
    assert (run / "killed").exists()
    events = EventAccumulator(str(run / "tb_events" / "site-1"))
    events.Reload()
    assert [(point.step, point.value) for point in events.Scalars("loss")] == [(0, 0.0), (1, 1.0), (2, 2.0)]


async def test_a_server_job_that_cannot_live_ends_the_run(federation: Federation, tmp_path: Path) -> None:
    job = trainer(tmp_path / "job", "pass")
    job.code += f"\nclass Killer:\n    def __init__(self):\n        {KILL}\n"
    job.server["components"].append({"id": "killer", **custom("Killer")})

    report = await federation.end(await federation.submit(job))

    assert report.status == FAILED
    assert report.failure is not None
    assert (report.failure.code, report.failure.site) == ("SD-4101", "server")
    assert "killed by signal 9 (SIGKILL)" in report.failure.what


async def test_an_abort_leaves_no_process_though_a_trainer_is_deaf(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T015: it ignores SIGTERM, and has offspring in a session of its own."""
    monkeypatch.setattr(job_process, "TERM_SECONDS", 0.3)
    gate = Gate(tmp_path / "gate")
    line = "import subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN); subprocess.Popen(['sleep', '1000'], start_new_session=True)"
    job_id = await federation.submit(trainer(tmp_path / "job", f"{line}; {gate.code}; signal.pause()"))
    await gate.open()

    await federation.server.abort_job(federation.server.jobs.table.find(job_id), "by alice")
    await asyncio.gather(*(program.ended.wait() for site in federation.sites.values() for program in site.runs.values()))

    report = await federation.end(job_id)
    assert (report.status, report.reason) == (ABORTED, "by alice")
    assert [posix.processes_of_run(f"{job_id}/{name}") for name in ("server", "site-1", "site-2")] == [[], [], []]


async def test_killing_one_jobs_processes_does_not_touch_another_job(federation: Federation, tmp_path: Path) -> None:
    """T058: both run at once, in the middle of their second step."""
    first, second = Gate(tmp_path / "first"), Gate(tmp_path / "second")
    one = await federation.submit(trainer(tmp_path / "job 1", f"task.step == 1 and once('seen') and ({first.code}, signal.pause())"))
    two = await federation.submit(trainer(tmp_path / "job 2", f"task.step == 1 and {second.code}"))
    await first.open()

    for participant in ("server", "site-1"):
        federation.process_at(participant, one).kill()
    await second.open()
    reports = [await federation.end(job_id) for job_id in (one, two)]

    assert [report.status for report in reports] == [COMPLETED] * 2, reports

    assert [step for step, _ in executed(federation, one)] == ["0", "1", "1"]
    assert [step for step, _ in executed(federation, two)] == ["0", "1"]


async def test_a_lost_link_ends_nothing_and_nobody_trains_twice(federation: Federation, tmp_path: Path) -> None:
    """T114: the link is cut while a site works; its result comes over the next one and counts once."""
    first, second = Gate(tmp_path / "first"), Gate(tmp_path / "second")
    job_id = await federation.submit(trainer(tmp_path / "job", f"task.step == 0 and ({first.code}, {second.code})"))
    await first.open()

    federation.server.sites()["site-1"].drop(ConnectionReplaced("cut by a test"))
    await second.open()
    report = await federation.end(job_id)

    assert report.status == COMPLETED, report
    assert [step for step, _ in executed(federation, job_id)] == ["0", "1"]


async def test_a_job_that_waits_goes_on_waiting_when_the_server_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run ends at once and makes room while another one takes its time: that is no reason to start a third."""
    gates = [Gate(tmp_path / "quick gate"), Gate(tmp_path / "slow gate")]
    lines = [*(f"{gate.code}; signal.pause()" for gate in gates), "pass"]
    async with federation_of(tmp_path / "f", "site-1", max_jobs=2) as federation:
        jobs = [await federation.submit(trainer(tmp_path / f"job {number}", line)) for number, line in enumerate(lines)]
        for gate in gates:
            await gate.open()
        slow, later = federation.server.runs[jobs[1]], asyncio.get_running_loop().call_later
        monkeypatch.setattr(slow, "abort", lambda reason, abort=slow.abort: later(1.0, abort, reason))

        await federation.server.close()

    records = read_journal(federation.server.workspace.project_journal).records
    last = {record.job: str(record.status) for record in records if isinstance(record, JobChanged)}
    assert [last[job_id] for job_id in jobs] == [ABORTED, ABORTED, "SUBMITTED"]


async def test_a_site_that_leaves_in_the_middle_is_named(tmp_path: Path) -> None:
    """It may not come back: the run ends by its policy, and does not wait for ever."""
    first, second = Gate(tmp_path / "first"), Gate(tmp_path / "second")
    async with federation_of(tmp_path / "f", "site-1", "site-2", stall_seconds=0.5) as federation:
        job_id = await federation.submit(trainer(tmp_path / "job", f"({first.code}, {second.code})"))
        await first.open()

        await federation.sites["site-1"].close()
        report = await federation.end(job_id)

    assert report.status == FAILED
    assert report.failure is not None
    assert report.failure.site == "site-1"
    assert report.failure.code in ("SD-4105", "SD-4204")
