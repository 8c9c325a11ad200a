"""The server: admits links, keeps the table of jobs, starts runs, passes on what sites and admins say (DESIGN §6)."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import msgspec
import structlog

from ...kernel.context import RunAborted
from ...kernel.errors import AdminError, Failure, RemoteError, SundogError
from ...kernel.messages import Answer, Ask, Command, Reply
from ...kernel.records import RunFinished, Status
from ...kernel.roles import Launcher, Scheduler
from ...kernel.transport import Listener
from ...transports.endpoints import listen
from ...transports.link import Acceptor, Identity, Intake, Link, Timers, Writer
from ..supervisor.tasks import Tasks
from ..workspace import posix
from ..workspace.blobs import BlobStore
from ..workspace.folders import Workspace, atomic_write
from ..workspace.job_folder import JobFolder, read_job
from ..workspace.job_meta import JobMeta
from ..workspace.job_state import Job, JobTable
from ..workspace.journal import Journal
from ..workspace.kit import ServerKit
from ..workspace.manifest import Limits, manifest_of
from .commands import Commands
from .dispatch import Dispatched, Dispatcher, Prepared
from .report import JobReport, job_report, read_report, write_report
from .run_blobs import RunBlobs
from .run_program import RunServices, ServerRunProgram
from .server_run import ServerRun
from .site_events import SiteEvents
from .streams import Streams

log = structlog.get_logger()


class SiteDoesNotAnswer(AdminError):
    """A site gave no answer.

    Cause: its link is down, or its machine is overloaded.

    Cure: look at the site's log.txt; `check_status client` shows which sites answer.
    """

    code = "SD-6003"


class Server:
    """One server, alive between `start` and `close`."""

    def __init__(
        self, workspace: Workspace, kit: ServerKit, *, launcher: Launcher, scheduler: Scheduler, timers: Timers | None = None
    ) -> None:
        self.workspace = workspace
        self.kit = kit
        self.runs: dict[str, ServerRunProgram] = {}
        self.addresses: list[str] = []
        self.changed = asyncio.Condition()
        """Notified when a job has a new state or a step is closed."""
        self._launcher = launcher
        self._scheduler = scheduler
        self._timers = timers or Timers()
        self.submitting = asyncio.Lock()
        self._asked: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._undo = AsyncExitStack()
        self._tasks = Tasks("server")

    def __repr__(self) -> str:
        return f"<Server {self.kit.name} at {', '.join(self.addresses)}: {len(self.runs)} runs>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the workspace, read what was, listen.

        Raises:
            WorkspaceInUse: another server has the workspace.
            ListenFailed, AddressError: see transports.
        """
        self._undo.enter_context(posix.WorkspaceLock(self.workspace.lock))
        self.writer = await self._undo.enter_async_context(Writer())
        self.table = JobTable(Journal(self.workspace.project_journal, self.writer, durability=self.kit.durability))
        self.term = self._next_term()
        identity = Identity(self.kit.project, "server", self.kit.name)
        self.acceptor = Acceptor(identity, handler=SiteEvents(self), intake=Intake(self.writer), timers=self._timers)
        self.acceptor.term = self.term
        self.commands = Commands(self)
        self.streams = Streams(self._stream_grew)
        self.dispatcher = Dispatcher(self.table, self._scheduler, links=self.sites, prepare=self._prepare, start=self._start_run)
        self._end_lost_runs()
        self._tasks.start(self.dispatcher.run())
        for address in dict.fromkeys((self.kit.listen, self.kit.admin_listen)):
            listener = await listen(address)
            self.addresses.append(listener.contact)
            self._tasks.start(self._serve(listener))
        log.info("server_ready", name=self.kit.name, term=self.term, addresses=" ".join(self.addresses))

    async def _serve(self, listener: Listener) -> None:
        async with listener:
            await self.acceptor.serve(listener)

    def _next_term(self) -> int:
        """Without an overseer the only server signs itself the next term at each start."""
        path = self.workspace.state / "term"
        term = int(path.read_text()) + 1 if path.exists() else 1
        atomic_write(path, str(term).encode())
        return term

    def _end_lost_runs(self) -> None:
        """Runs that a server before this one left open have no process any more."""
        for job in self.table.in_state(Status.DISPATCHED, Status.RUNNING):
            self.table.change(job.id, Status.ABORTED, "the server was stopped while the job ran")

    async def close(self) -> None:
        """End the runs, say goodbye, give the workspace back. Twice is fine."""
        for program in list(self.runs.values()):
            program.abort("the server stops")
        await asyncio.gather(*(program.ended.wait() for program in list(self.runs.values())))
        if hasattr(self, "acceptor"):
            await self.streams.close()
            await self.acceptor.close()
        await self._tasks.close()
        await self._undo.aclose()

    # --- sites --------------------------------------------------------------------------------------------------

    def sites(self) -> dict[str, Link]:
        """The sites that are connected, by name."""
        links = (link for link in self.acceptor.links.values() if link.peer.role == "site" and link.is_up)
        return {link.peer.name: link for link in sorted(links, key=lambda link: link.peer.name)}

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
        self._tasks.start(self._answer(link, message, body))

    async def _answer(self, link: Link, message: Command, body: bytes) -> None:
        log.info("command", name=message.name, admin=link.peer.name, request=message.request)
        try:
            arguments = msgspec.json.decode(body or b"{}", type=dict[str, Any])
            answer = await self.commands.run(link, message.name, arguments)
        except (SundogError, KeyError, msgspec.DecodeError, ExceptionGroup) as exc:
            error = exc.exceptions[0] if isinstance(exc, ExceptionGroup) else exc
            link.send(Reply(message.request, Failure.of(error)))
        else:
            link.send(Reply(message.request), msgspec.json.encode(answer))

    async def ask(self, site: str, name: str, arguments: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Ask a site something and wait for its answer.

        Raises:
            SiteDoesNotAnswer: it is not connected, or too slow.
        """
        link = self.sites().get(site)
        if link is None:
            raise SiteDoesNotAnswer("it is not connected", where=site)
        request = secrets.token_hex(8)
        answer = self._asked[request] = asyncio.get_running_loop().create_future()
        link.send(Ask(request, name), msgspec.json.encode(arguments))
        try:
            async with asyncio.timeout(seconds):
                said: dict[str, Any] = await answer
        except TimeoutError:
            raise SiteDoesNotAnswer(f"no answer within {seconds:g} s", where=site) from None
        finally:
            del self._asked[request]
        return said

    def answered(self, message: Answer, body: bytes) -> None:
        """A site answers what it was asked."""
        waiting = self._asked.get(message.request)
        if waiting is None or waiting.done():
            return
        if message.failure is not None:
            waiting.set_exception(RemoteError(message.failure))
        else:
            waiting.set_result(msgspec.json.decode(body))

    # --- jobs ---------------------------------------------------------------------------------------------------

    def job_folder(self, job_id: str) -> Path:
        """Where a job lies as it was submitted."""
        return self.workspace.jobs / job_id

    async def take_in(self, folder: Path, *, request: str = "", submitter: str = "", seed: int | None = None) -> Job:
        """Check a job's folder, move it into the store, and let it wait for its turn.

        Raises:
            JobRefused, NoJob: it is no valid job.
        """
        read = await asyncio.to_thread(read_job, folder)
        meta = read.meta if seed is None else read.meta.replace(seed=seed)
        content = (await asyncio.to_thread(manifest_of, folder, self._limits)).sha256
        document = msgspec.to_builtins(meta)
        job, durable = self.table.submit(document, request=request, content=content, extra={"submitter": submitter})
        folder.rename(self.job_folder(job.id))
        await durable
        self.dispatcher.look()
        self.moved()
        return job

    def report(self, job: Job) -> JobReport:
        """What came out of a job, or how far it is."""
        path, program = self.workspace.run(job.id).report, self.runs.get(job.id)
        if program is None and path.exists():
            return msgspec.structs.replace(read_report(path), status=str(job.status), reason=job.reason)
        return job_report(job, program.run if program is not None else None, time.time())

    async def next_report(self, job_id: str, seen: tuple[Any, ...]) -> JobReport:
        """The report of a job once it says more than (status, number of rounds, what it waits for), as far as those are given."""

        def now() -> JobReport:
            return self.report(self.table.find(job_id))

        def is_news() -> bool:
            report = now()
            return (report.status, len(report.rounds), report.waits_for)[: len(seen)] != seen

        async with self.changed:
            await self.changed.wait_for(is_news)
        return now()

    async def wait_for_sites(self, count: int) -> None:
        """Wait until so many sites are connected."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.sites()) >= count)

    @property
    def _limits(self) -> Limits:
        return Limits(self.kit.limits.max_job_files, self.kit.limits.max_job_bytes)

    def _prepare(self, job: Job) -> Prepared:
        folder = read_job(self.job_folder(job.id))
        meta = msgspec.convert(dict(job.meta), JobMeta)  # as submitted: a seed may have been given with it
        return Prepared(replace(folder, meta=meta), manifest_of(folder.root, self._limits))

    def _start_run(self, dispatched: Dispatched) -> None:
        job_id, folder = dispatched.job.id, dispatched.prepared.folder
        run_folder = self.workspace.run(job_id).create()
        self._deploy_here(folder, run_folder.app)
        durability = folder.meta.durability or self.kit.durability
        store = BlobStore(self.workspace.blobs / job_id)
        store.folder.mkdir(parents=True, exist_ok=True)
        services = RunServices(
            self.writer, self._launcher, lambda site: self.acceptor.find("site", site), self._run_ended, self.streams.settle,
            lambda _: self.moved(), self.kit.stall_seconds,
        )  # fmt: skip
        run = ServerRun(job_id, tuple(sorted(dispatched.tokens)), self.term)
        journal = Journal(self.workspace.run_journal(job_id, self.term), self.writer, durability=durability)
        blobs = RunBlobs(store, run_folder, self.writer)
        program = self.runs[job_id] = ServerRunProgram(services, run, folder.meta, run_folder, journal, blobs)
        run.connected.update(site for site in self.sites() if site in run.sites)
        self.table.change(job_id, Status.RUNNING)
        program.begin()
        self.moved()

    def _deploy_here(self, folder: JobFolder, target: Path) -> None:
        app = folder.app_for("server")
        shutil.rmtree(target, ignore_errors=True)
        if app is not None:
            shutil.copytree(folder.path_of(app), target, ignore=shutil.ignore_patterns("meta.json", "__pycache__"))

    def moved(self) -> None:
        """A step was closed or a state changed: who watches wants to know."""
        self._tasks.start(self._notify())

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def _run_ended(self, run: str, finished: RunFinished) -> None:
        program = self.runs.pop(run)
        self.streams.forget(run)
        failure = msgspec.to_builtins(finished.failure) if finished.failure is not None else None
        job = self.table.find(run)
        write_report(program.folder.report, job, program.run, program.faults)
        self.table.change(run, Status(finished.status), finished.reason, failure=failure)
        log.info("run_ended", run=run, status=finished.status, reason=finished.reason)
        self.dispatcher.look()
        self.moved()

    def start_abort(self, job_id: str, reason: str) -> None:
        """Abort a job in the background; nothing happens if it has ended."""
        job = self.table.find(job_id)
        if not job.status.is_end:
            self._tasks.start(self.abort_job(job, reason))

    async def abort_job(self, job: Job, reason: str) -> None:
        """Bring a job to FINISHED:ABORTED, wherever it is; returns when it is there.

        Raises:
            RunAborted: it has ended already.
        """
        if job.status.is_end:
            raise RunAborted(f"the job has ended as {job.status}", where=job.id)
        program = self.runs.get(job.id)
        if program is not None:
            program.abort(reason)
            await program.ended.wait()
        else:
            await self.table.change(job.id, Status.ABORTED, reason)
            self.moved()
