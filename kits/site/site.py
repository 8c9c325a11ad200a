"""The site: one link to whichever server serves, the runs it takes part in, the authority over its resources (DESIGN §6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import msgspec
import structlog

from ...components.access.by_role import CommandsByRole
from ...kernel.errors import ComponentError, Failure, JobError
from ...kernel.operator_roles import AccessRule, Launcher, ResourceManager, Subject
from ...kernel.transport import FrameTooLarge
from ...transports.link import Dialer, Identity, Link
from ...transports.link.refusals import Refused
from ..commands.declaration import AtSite
from ..protocol.messages import (
    MAX_TOKEN_CHARACTERS,
    Ask,
    Cancel,
    Check,
    Checked,
    Deploy,
    Deployed,
    Free,
    Started,
    StartRun,
    Sync,
)
from ..supervisor.job_process import JobProcesses
from ..supervisor.means import Means
from ..supervisor.run_logs import RunLogs
from ..supervisor.storage import StorageFailed, own_failure
from ..supervisor.tasks import Tasks
from ..supervisor.travel import fetch_folder
from ..workspace import posix
from ..workspace.folders import Workspace
from ..workspace.kit import SiteKit
from ..workspace.manifest import decode_manifest
from .answers import Answers
from .run_program import SiteRunProgram, SiteServices
from .server_events import ServerEvents

log = structlog.get_logger()


class NotDeployed(JobError):
    """A site was told to start a run whose app it does not have.

    Cause: the server said StartRun without a Deploy over the same connection; a mistake in Sundog.

    Cure: submit the job again, and report it.
    """

    code = "SD-4203"


class WrongToken(ComponentError):
    """A resource manager gave something else than a token of 1 to 255 characters.

    Cause: a mistake in the resource manager that the site's kit names.

    Cure: let `check` give a short text that names the reservation; until then no job starts at this site.
    """

    code = "SD-4273"


class Site:
    """One site, alive between `start` and `close`.

    Args:
        workspace: its folder; no other process works there (WorkspaceLock), as long as this one lives.
        kit: what its kit says.
        means: what it works with, shared with others in this process.
        launcher, resources, access: the components of its kit.
    """

    def __init__(
        self,
        workspace: Workspace,
        kit: SiteKit,
        means: Means,
        *,
        launcher: Launcher,
        resources: ResourceManager,
        access: AccessRule | None = None,
    ) -> None:
        self.workspace = workspace
        self.kit = kit
        self.addresses = list(kit.endpoints)
        self.on_refused: Callable[[Refused], object] = lambda _: None
        """Called when a server's refusal is final; the site goes on dialling."""
        self.runs: dict[str, SiteRunProgram] = {}
        self.logs = RunLogs(workspace, self.runs)
        self.answers = Answers(kit.name, access or CommandsByRole(), self._place_of, lambda: self.link)
        self._means = means
        self._processes = JobProcesses(launcher, workspace.channels)
        self._resources = resources
        self._deployed: dict[str, dict[str, Any]] = {}
        self._deploying: dict[str, asyncio.Task[None]] = {}
        self._reserved: dict[str, str] = {}
        """Run that has not started → token of its reservation."""
        self._removing: dict[str, asyncio.Future[None]] = {}
        """Runs that have ended, until what they left is removed."""
        self._tokens: dict[str, str] = {}
        """Run → token of its allocation."""
        self._free_told: dict[str, Any] = {}
        self._tasks = Tasks(f"site {kit.name}")
        identity = Identity(kit.project, "site", kit.name)
        self._dialer = Dialer(identity, kit.endpoints, handler=ServerEvents(self), intake=means.intake, timers=means.timers)

    def __repr__(self) -> str:
        return f"<Site {self.kit.name}: {len(self.runs)} runs>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to dial."""
        self._dialer.term_seen = self._term_seen()
        self._tasks.start(self._dialer.run())
        log.info("site_ready", name=self.kit.name, endpoints=" ".join(self.kit.endpoints))

    def hurry(self) -> None:
        """Kill the job processes at once."""
        self._processes.kill_all()

    async def close(self) -> None:
        """End the job processes, say goodbye, do to the disk what is to be done. Twice is fine."""
        while self.runs:  # one may be started meanwhile
            programs = list(self.runs.values())
            for program in programs:
                program.over("the site stops")
            await asyncio.gather(*(program.ended.wait() for program in programs))
        await self._dialer.close()
        await self._tasks.close()
        await self._means.writer.do(lambda: None)  # what was posted for this site is done

    @property
    def link(self) -> Link:
        """The link to the server, up or down."""
        return self._dialer.link

    def _term_seen(self) -> int:
        path = self.workspace.term_seen
        return int(path.read_text()) if path.exists() else 0

    def registered(self) -> None:
        """A server has let this site in: remember its term before anything is done under it.

        Raises:
            StorageFailed: it cannot be written; the site goes on trying.
        """
        try:
            if self._term_seen() != self._dialer.term_seen:
                self._means.disk.atomic_write(self.workspace.term_seen, str(self._dialer.term_seen).encode())
        except OSError as exc:
            raise StorageFailed.of(exc) from exc
        log.info("registered", server=self.link.peer.name, term=self._dialer.term_seen)
        self.tell_what_runs()

    def tell_what_runs(self) -> None:
        """Say what runs and what is free: after each HELLO, when a run has ended, and when the server is mistaken about a run.

        All runs are named in one message; if they have too many tasks for it, nothing is said until one of them has ended.
        """
        self._free_told = self._free()
        try:
            self.link.send(Sync([program.run.sync() for program in self.runs.values()], self._free_told))
        except FrameTooLarge as exc:  # an error here would end the link, each time that it is up
            log.error("sync_not_sent", reason=exc.what)  # noqa: TRY400  # the place is known

    # --- scheduling ---------------------------------------------------------------------------------------------

    def check(self, message: Check) -> None:
        """Could the job run here now?"""
        try:
            token = _checked_token(self._resources.check(message.run, message.spec))
            if message.run not in self.runs:
                self._reserved[message.run] = token
            self._tell_free()  # before the answer: the server's picture is whole when it decides
        except Exception as exc:  # noqa: BLE001  # a resource manager is the operator's; the server waits for an answer
            self.link.send(Checked(message.run, "", Failure.of(exc).what))
        else:
            self.link.send(Checked(message.run, token))

    def cancel(self, message: Cancel) -> None:
        """The job does not come, or not to this site; if it has started already it ends."""
        if (program := self.runs.get(message.run)) is not None:
            program.over("the server does not want it here")
            return
        self._resources.free(message.token)
        self._reserved.pop(message.run, None)
        self._stop_deploying(message.run)
        self._deployed.pop(message.run, None)
        self._tell_free()

    def drop_unstarted(self) -> None:
        """The link is lost, and with it what the server may have wanted to start: it begins anew, or with another job."""
        for run in list(self._deploying):
            self._stop_deploying(run)
        self._deployed.clear()
        for token in self._reserved.values():
            self._resources.free(token)
        self._reserved.clear()

    def _tell_free(self) -> None:
        """Tell the server what is free if that has changed."""
        free = self._free()
        if free != self._free_told:
            self._free_told = free
            self.link.send(Free(free))

    def _free(self) -> dict[str, Any]:
        """What the resource manager says is free; nothing if it cannot be said, because it is a hint only."""
        try:
            free: dict[str, Any] = msgspec.to_builtins(dict(self._resources.available()))
        except Exception as exc:  # noqa: BLE001  # a resource manager is the operator's
            log.warning("free_resources_unknown", reason=str(exc))
            return {}
        return free

    def deploy(self, message: Deploy, body: bytes) -> None:
        """Fetch the app; asked again, after a lost connection, begin anew."""
        self._stop_deploying(message.run)
        self._deploying[message.run] = self._tasks.start(self._deploy(message, body))

    def _stop_deploying(self, run: str) -> None:
        if (task := self._deploying.pop(run, None)) is not None:
            task.cancel()

    async def _deploy(self, message: Deploy, body: bytes) -> None:
        try:
            manifest = decode_manifest(body)
            if (removing := self._removing.get(message.run)) is not None:  # what an earlier start of it left
                await removing
            app = self.workspace.run(message.run).create().app
            await asyncio.to_thread(self._means.disk.rmtree, app)
            await fetch_folder(self.link, manifest, app)
        except Exception as exc:  # noqa: BLE001  # whatever it is, the server is waiting to hear of it
            self.link.send(Deployed(message.run, own_failure(exc, self.kit.name)))
            return
        self._deployed[message.run] = message.meta
        self.link.send(Deployed(message.run))

    def start_run(self, message: StartRun) -> None:
        """Turn the token into an allocation, and launch."""
        if message.run in self.runs:
            self.link.send(Started(message.run))
            return
        self._reserved.pop(message.run, None)
        try:
            program = self._new_run(message)
        except Exception as exc:  # noqa: BLE001  # of the disk, or of a resource manager, which is the operator's
            self._resources.free(message.token)
            self._tell_free()
            self.link.send(Started(message.run, own_failure(exc, self.kit.name)))
            return
        self.runs[message.run], self._tokens[message.run] = program, message.token
        self._tell_free()
        program.begin()
        self.link.send(Started(message.run))

    def _new_run(self, message: StartRun) -> SiteRunProgram:
        if message.run not in self._deployed:
            raise NotDeployed("its app is not here", where=message.run)
        self._stop_deploying(message.run)
        meta = self._deployed.pop(message.run)
        allocated = self._resources.allocate(message.token)
        environment = {**posix.thread_environment(int(meta.get("threads", 1))), **self._resources.environment(allocated)}
        services = SiteServices(
            self.kit.name, self._means.writer, self._processes, lambda: self.link, lambda term: term >= self._dialer.term_seen,
            self._run_ended, self.logs.changed, self._means.disk,
        )  # fmt: skip
        folder, outbox = self.workspace.run(message.run), self.workspace.outbox / message.run
        return SiteRunProgram(services, message, meta, folder, outbox, environment)

    async def _run_ended(self, run: str) -> None:
        self.runs.pop(run, None)
        self.logs.changed(run)
        self._resources.free(self._tokens.pop(run, ""))
        self.tell_what_runs()
        log.info("run_ended", run=run)
        self._removing[run] = self._means.writer.post(partial(self._remove_leftovers, run))
        await self._removing[run]
        del self._removing[run]

    def _remove_leftovers(self, run: str) -> None:
        """On the writer's thread: it may take long, and a thousand virtual sites share one loop."""
        folder = self.workspace.run(run)
        for leftover in (self.workspace.outbox / run, folder.inbox, folder.out):
            self._means.disk.rmtree(leftover)

    # --- questions ----------------------------------------------------------------------------------------------

    def answer(self, ask: Ask, body: bytes) -> None:
        """The server asks something on behalf of an admin."""
        self._tasks.start(self.answers.answer(ask, body))

    def _place_of(self, subject: Subject) -> AtSite:
        """What the function of a command of this admin is given."""
        return AtSite(
            subject=subject,
            name=self.kit.name,
            workspace=self.workspace,
            running=lambda: {run: bool(program.run.working) for run, program in self.runs.items()},
            logs=self.logs,
        )


def _checked_token(token: Any) -> str:
    """Raises: WrongToken; the server would drop the link, each time that it asks."""
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
        raise WrongToken(f"wanted a token of 1 to {MAX_TOKEN_CHARACTERS} characters, got {token!r:.80}")
    return token
