"""The server: admits links, keeps the table of jobs, starts runs, passes on what sites and admins say (DESIGN §6)."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path
from typing import Self

import msgspec
import structlog

from ...components.access.by_role import CommandsByRole
from ...kernel.messages import MAX_LINK_FRAME_BYTES
from ...kernel.operator_roles import AccessRule, Launcher, Scheduler, Subject
from ...kernel.transport import Connection, Listener
from ...transports.endpoints import listen
from ...transports.link import Acceptor, Hello, Identity, Link
from ...transports.link.refusals import TooManySites, UnknownPeer
from ..commands.declaration import AtServer
from ..protocol.messages import Command, Started
from ..protocol.records import RunFinished, Status
from ..supervisor.job_process import JobProcesses
from ..supervisor.means import Means
from ..supervisor.run_logs import RunLogs
from ..supervisor.tasks import Tasks
from ..workspace.blobs import BlobStore
from ..workspace.disk import Disk
from ..workspace.folders import Workspace
from ..workspace.job_folder import JobFolder
from ..workspace.job_state import Job, JobTable
from ..workspace.journal import Ballast, Journal
from ..workspace.kit import ServerKit
from ..workspace.manifest import Limits
from .commands import Commands
from .deliveries import Deliveries
from .dispatch import Dispatcher
from .jobs import Jobs
from .questions import Questions
from .report import write_report
from .run_blobs import RunBlobs
from .run_program import ServerRunProgram
from .run_services import RunServices
from .server_run import ServerRun
from .sessions import Sessions
from .site_calls import Dispatched, SiteCalls
from .site_events import SiteEvents
from .streams import Streams

log = structlog.get_logger()
ROLES = ("admin", "site")
"""Who may link; what a message means is decided by this."""


class Server:
    """One server, alive between `start` and `close`.

    Args:
        workspace: its folder; no other process works there (WorkspaceLock), as long as this one lives.
        kit: what its kit says.
        means: what it works with, shared with others in this process.
        launcher, scheduler, access: the components of its kit.
    """

    def __init__(
        self,
        workspace: Workspace,
        kit: ServerKit,
        means: Means,
        *,
        launcher: Launcher,
        scheduler: Scheduler,
        access: AccessRule | None = None,
    ) -> None:
        self.workspace = workspace
        self.kit = kit
        self.now = means.now
        self.runs: dict[str, ServerRunProgram] = {}
        self.addresses: list[str] = []
        self._linked: dict[str, Link] = {}
        self._in_order: dict[str, Link] | None = None
        self.jobs = Jobs(workspace, kit, JobTable(means.now), self.runs, disk=means.disk, now=means.now)
        self.sessions = Sessions(means.now)
        self.commands = Commands(access or CommandsByRole(), self.sessions, self._place_of)
        self.questions = Questions(self.sites)
        self._deliveries = Deliveries(self.jobs, workspace, Limits(kit.limits.max_job_files, kit.limits.max_job_bytes))
        self.streams = Streams(self._stream_grew)
        self.logs = RunLogs(workspace, self.runs)
        self.acceptor = Acceptor(
            Identity(kit.project, "server", kit.name),
            handler=SiteEvents(self), intake=means.intake, admit=self._admit, timers=means.timers,
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            self.jobs,
            scheduler,
            sites=SiteCalls(self.sites),
            deploy_here=self._deploy_here,
            start=self._start_run,
            started=self._site_started,
        )
        self.jobs.on_change = self.dispatcher.look
        self._means = means
        self._processes = JobProcesses(launcher, workspace.channels)
        self._tasks = Tasks("server")
        self._dispatching: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Server {self.kit.name} at {', '.join(self.addresses)}: {len(self.runs)} runs>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read what was, listen.

        Raises:
            JournalDamaged: the project's journal cannot be trusted.
            ListenFailed, AddressError: see transports.
        """
        self.workspace.create_shared()
        self.jobs.table.open(self._project_journal())
        self.acceptor.term = self._next_term()
        self._end_lost_runs()
        await self.jobs.remove_leftovers()
        self._dispatching = self._tasks.start(self.dispatcher.run())
        for address in dict.fromkeys((self.kit.listen, self.kit.admin_listen)):
            listener = await listen(address, max_frame_bytes=MAX_LINK_FRAME_BYTES)
            self.addresses.append(listener.contact)
            self._tasks.start(self._serve(listener))
        log.info("server_ready", name=self.kit.name, term=self.acceptor.term, addresses=" ".join(self.addresses))

    async def _serve(self, listener: Listener) -> None:
        async with listener:
            await self.acceptor.serve(listener)

    def _project_journal(self) -> Journal:
        disk, durability = self._means.disk, self.kit.durability
        ballast = None if durability == "none" else Ballast(self.workspace.ballast, disk)
        return Journal(self.workspace.project_journal, self._means.writer, durability=durability, ballast=ballast, disk=disk)

    def _next_term(self) -> int:
        """Without an overseer the only server signs itself the next term at each start."""
        path = self.workspace.term
        term = int(path.read_text()) + 1 if path.exists() else 1
        self._means.disk.atomic_write(path, str(term).encode())
        return term

    def _end_lost_runs(self) -> None:
        """Runs that a server before this one left open have no process any more."""
        for job in self.jobs.table.in_state(Status.DISPATCHED, Status.RUNNING):
            self.jobs.change(job.id, Status.ABORTED, "the server was stopped while the job ran")

    def hurry(self) -> None:
        """Kill the job processes at once."""
        self._processes.kill_all()

    async def close(self) -> None:
        """End the runs, say goodbye, write what is to be written. Twice is fine."""
        if self._dispatching is not None:  # first: a job that waits goes on waiting, and does not start because another one ends
            self._dispatching.cancel()
            await asyncio.gather(self._dispatching, return_exceptions=True)
        while self.runs:
            programs = list(self.runs.values())
            for program in programs:
                program.abort("the server stops")
            await asyncio.gather(*(program.ended.wait() for program in programs))
        await self.streams.close()
        await self.acceptor.close()
        await self._tasks.close()
        await self.jobs.close()

    async def wait_for_sites(self, count: int) -> None:
        """Wait until so many sites are connected."""
        await self.jobs.wait_until(lambda: len(self._linked) >= count)

    # --- sites --------------------------------------------------------------------------------------------------

    def sites(self) -> dict[str, Link]:
        """The sites that are connected, in the order of their names; sorted again only when one has come or gone."""
        if self._in_order is None:
            self._in_order = dict(sorted(self._linked.items()))
        return self._in_order

    def site_up(self, link: Link) -> None:
        """A site is connected."""
        self._linked[link.peer.name] = link
        self._in_order = None

    def site_down(self, link: Link) -> None:
        """A site's connection is over."""
        if self._linked.get(link.peer.name) is link:
            del self._linked[link.peer.name]
            self._in_order = None

    def _admit(self, hello: Hello, _connection: Connection) -> None:
        """Raises: UnknownPeer, TooManySites."""
        if hello.role not in ROLES:
            raise UnknownPeer(f"a server links with {' and '.join(ROLES)}, not with {hello.role}")
        others = len(self._linked) - (hello.name in self._linked)
        if hello.role == "site" and others >= self.kit.limits.max_sites:
            raise TooManySites(f"{others} sites are linked, the limit is {self.kit.limits.max_sites}")

    def runs_with(self, site: str) -> list[ServerRunProgram]:
        """The runs that a site takes part in."""
        return [program for program in self.runs.values() if site in program.run.sites]

    def _stream_grew(self, run: str, site: str, stream: str, size: int) -> None:
        program = self.runs.get(run)
        if program is not None:
            program.grew(site, stream, size)

    # --- admins -------------------------------------------------------------------------------------------------

    def command(self, link: Link, message: Command, body: bytes) -> None:
        """An admin gives a command; it is answered when it is done."""
        self._tasks.start(self.commands.answer(link, message, body))

    def _place_of(self, link: Link) -> AtServer:
        """What the function of a command of this admin is given."""
        subject = Subject(link.peer.name, "", link.peer.role)
        return AtServer(
            subject=subject,
            link=link,
            workspace=self.workspace,
            jobs=self.jobs,
            now=self.now,
            running=lambda: {run: program.meta.name for run, program in self.runs.items()},
            sites=self.sites,
            known_sites=lambda: sorted({link.peer.name for link in self.acceptor.links.values() if link.peer.role == "site"}),
            ask=partial(self.questions.ask, subject),
            abort=self.abort_job,
            logs=self.logs,
            sessions=self.sessions.listing,
            addresses=self.addresses,
            transfers=self._deliveries,
        )

    # --- jobs ---------------------------------------------------------------------------------------------------

    def _start_run(self, dispatched: Dispatched) -> None:
        means, job_id, folder = self._means, dispatched.job.id, dispatched.prepared.folder
        run_folder = self.workspace.run(job_id).create()
        durability = folder.meta.durability or "process"
        store = BlobStore(self.workspace.blobs / job_id)
        store.folder.mkdir(parents=True, exist_ok=True)
        services = RunServices(
            means.writer, self._processes, lambda site: self.acceptor.find("site", site), self._run_ended, self.streams.settle,
            lambda _: self.jobs.moved(), self.logs.changed, self.kit.stall_seconds, means.now,
        )  # fmt: skip
        term = self.acceptor.term
        run = ServerRun(job_id, dispatched.sites, term)
        journal = Journal(self.workspace.run_journal(job_id, term), means.writer, durability=durability, disk=means.disk)
        blobs = RunBlobs(store, run_folder, means.writer, writes_small=durability != "none", disk=means.disk)
        program = self.runs[job_id] = ServerRunProgram(services, run, folder.meta, run_folder, journal, blobs)
        run.connected.update(site for site in self.sites() if site in run.sites)
        self.jobs.change(job_id, Status.RUNNING)
        program.begin()

    def _site_started(self, site: str, started: Started) -> None:
        """A site cannot start a run, or has started it only now, because its link was lost just then."""
        program = self.runs.get(started.run)
        if program is None:
            return
        if started.failure is not None:
            program.site_cannot(site, started.failure)
        if site not in program.run.connected:
            program.site_up(site, [], [])

    async def _deploy_here(self, dispatched: Dispatched) -> None:
        target = self.workspace.run(dispatched.job.id).create().app
        await asyncio.to_thread(_copy_app, dispatched.prepared.folder, target)

    async def _run_ended(self, run: str, finished: RunFinished) -> None:
        program = self.runs.pop(run)
        self.logs.changed(run)
        self.streams.forget(run)
        failure = msgspec.to_builtins(finished.failure) if finished.failure is not None else None
        job = self.jobs.table.find(run)
        try:
            write_report(self._means.disk, program.folder.report, job, program.run, program.faults)
        except OSError as exc:
            log.exception("report_not_written", run=run, reason=str(exc))
        await self.jobs.change(run, Status(finished.status), finished.reason, failure=failure)
        log.info("run_ended", run=run, status=finished.status, reason=finished.reason)

    def start_abort(self, job_id: str, reason: str) -> None:
        """Abort a job in the background; nothing happens if it has ended."""
        job = self.jobs.table.find(job_id)
        if not job.status.is_end:
            self._tasks.start(self.abort_job(job, reason))

    async def abort_job(self, job: Job, reason: str) -> None:
        """Bring a job to FINISHED:ABORTED, wherever it is; returns when it has ended, in this way or, if it was quicker, another."""
        program = self.runs.get(job.id)
        if program is not None:
            program.abort(reason)
            await program.ended.wait()
        elif not job.status.is_end:
            await self.jobs.change(job.id, Status.ABORTED, reason)


def _copy_app(folder: JobFolder, target: Path) -> None:
    app = folder.app_for("server")
    Disk().rmtree(target)
    if app is not None:
        shutil.copytree(folder.path_of(app), target, ignore=shutil.ignore_patterns("meta.json", "__pycache__"))
