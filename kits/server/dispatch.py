"""How does a waiting job come to run: which one is tried, what each site answers, why it still waits (PROTOCOL §6)?

Check gives a token or a reason for each site; enough tokens → Deploy → Start turns tokens into allocations. Nothing polls:
a look is taken when a job is submitted or ends, or when a site comes or goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import structlog

from ...kernel.errors import Failure, JobError, SundogError
from ...kernel.messages import Message
from ...kernel.operator_roles import RunningJob, Scheduler, WaitingJob
from ...transports.link.link import Link
from ..protocol.messages import Cancel, Check, Checked, Deploy, Deployed, Started, StartRun
from ..protocol.records import Status
from ..supervisor.travel import offer_folder, withdraw_folder
from ..workspace.job_folder import App, JobFolder
from ..workspace.job_meta import JobMeta
from ..workspace.job_state import Job, JobTable
from ..workspace.manifest import Manifest

log = structlog.get_logger()
CHECK_SECONDS = 15.0
DEPLOY_SECONDS = 600.0


class SiteNotReady(JobError):
    """A site did not answer while a job was being started there.

    Cause: its link was lost, or its disk or its resource manager is very slow.

    Cure: `check_status client` shows whether it is there; the job is tried again when it comes back.
    """

    code = "SD-4201"


@dataclass(frozen=True)
class Prepared:
    """A job that is about to be dispatched: its folder, and the manifest of it all."""

    folder: JobFolder
    manifest: Manifest

    def app_manifest(self, app: App) -> Manifest:
        """The files of one app, relative to it; an app that is the whole folder keeps its config/ and custom/."""
        return self.manifest.below(app.folder)


@dataclass(frozen=True)
class Dispatched:
    """A job whose sites have their apps and hold their resources."""

    job: Job
    prepared: Prepared
    tokens: dict[str, str]


class JobList(Protocol):
    """What the dispatcher needs of the server's jobs."""

    table: JobTable

    def meta(self, job: Job) -> JobMeta:
        """What a job wants."""

    async def prepare(self, job: Job) -> Prepared:
        """Read a job anew."""

    def change(self, job_id: str, status: Status, reason: str = "", **extra: Any) -> asyncio.Future[None]:
        """Bring a job to its next state."""

    def moved(self) -> None:
        """Tell those who watch."""


class Dispatcher:
    """Brings waiting jobs to run."""

    def __init__(
        self,
        jobs: JobList,
        scheduler: Scheduler,
        *,
        links: Callable[[], dict[str, Link]],
        deploy_here: Callable[[Dispatched], Awaitable[None]],
        start: Callable[[Dispatched], None],
    ) -> None:
        """`links()` gives the sites that are connected; `deploy_here` puts the server's own app in place, `start` begins the run there."""
        self._jobs = jobs
        self._table = jobs.table
        self._scheduler = scheduler
        self._links = links
        self._deploy_here = deploy_here
        self._start = start
        self._wake = asyncio.Event()
        self._free: dict[str, dict[str, Any]] = {}
        self._answers: dict[tuple[str, str, type[Message]], asyncio.Future[Any]] = {}

    def look(self) -> None:
        """Something changed: look whether a job can start."""
        self._wake.set()

    def free_now(self, site: str, free: dict[str, Any]) -> None:
        """A site says what it has free: a hint for the scheduler."""
        self._free[site] = free
        self._wake.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            why = await self._start_all()
            for place, job in enumerate(self._table.in_state(Status.SUBMITTED)):
                if why or not job.waits_for:
                    self._table.wait(job.id, why or f"waits in the queue, place {place + 1}")
            self._jobs.moved()

    async def _start_all(self) -> str:
        """Start what can start; why nothing can at all, if that is so."""
        try:
            while await self._start_one():
                pass
        except Exception as exc:  # the scheduler's: it is the operator's, or a plugin's
            log.exception("scheduler_failed", scheduler=type(self._scheduler).__name__)
            return f"the scheduler failed: {Failure.of(exc)}"
        return ""

    async def _start_one(self) -> bool:
        """Try the waiting jobs in the scheduler's order until one starts; it is asked again after each start."""
        waiting = self._table.in_state(Status.SUBMITTED)
        running = self._table.in_state(Status.DISPATCHED, Status.RUNNING, Status.PAUSED)
        free = {site: self._free.get(site, {}) for site in self._links()}
        for job_id in self._scheduler.order([self._waiting(job) for job in waiting], [self._running(job) for job in running], free):
            await self._try(job_id)
            if self._table.find(job_id).status is not Status.SUBMITTED:
                return True
        return False

    def _waiting(self, job: Job) -> WaitingJob:
        meta = self._jobs.meta(job)
        return WaitingJob(
            id=job.id, name=job.name, submitter=job.extra.get("submitter", ""), priority=meta.priority,
            submitted_seconds=job.submitted_seconds, sites=meta.sites, min_sites=meta.min_sites,
            mandatory_sites=tuple(meta.mandatory_clients), resource_spec=meta.resource_spec, meta=job.meta,
        )  # fmt: skip

    def _running(self, job: Job) -> RunningJob:
        meta = self._jobs.meta(job)
        return RunningJob(
            id=job.id, name=job.name, submitter=job.extra.get("submitter", ""), priority=meta.priority,
            submitted_seconds=job.submitted_seconds, started_seconds=job.started_seconds, sites=tuple(job.extra.get("sites", ())),
            resource_spec=meta.resource_spec, meta=job.meta,
        )  # fmt: skip

    async def _try(self, job_id: str) -> None:
        job = self._table.find(job_id)
        try:
            tokens = await self._reserve(job, self._jobs.meta(job))
            if tokens is not None:
                await self._dispatch(job, tokens)
        except SiteNotReady as exc:  # it lasts no longer than the site is away
            log.warning("job_waits_again", job=job_id, site=exc.where, reason=exc.what)
            if self._table.find(job_id).status is Status.DISPATCHED:
                await self._jobs.change(job_id, Status.SUBMITTED, str(exc))
                self._table.wait(job_id, f"waits for {exc.where}: {exc.what}")
        except Exception as exc:  # noqa: BLE001  # whatever it is, it is this job's end and not that of the others
            failure = exc.failure if isinstance(exc, DeployFailed) else Failure.of(exc)
            log.warning("job_not_started", job=job_id, code=failure.code, error=failure.what)
            if not self._table.find(job_id).status.is_end:
                await self._jobs.change(job_id, Status.EXECUTION_EXCEPTION, str(failure), failure=msgspec.to_builtins(failure))

    # --- Check --------------------------------------------------------------------------------------------------

    async def _reserve(self, job: Job, meta: JobMeta) -> dict[str, str] | None:
        """A token of each site that can run the job now; None, with the reason told, if they are too few."""
        links = self._links()
        reason = meta.waits_for(list(links))
        if reason:
            self._table.wait(job.id, reason)
            return None
        sites = [site for site in (meta.sites or sorted(links)) if site in links]
        checks = (self._check(job.id, links[site], meta.resource_spec.get(site, {})) for site in sites)
        answers = dict(zip(sites, await asyncio.gather(*checks), strict=True))
        tokens = {site: answer.token for site, answer in answers.items() if answer.token}
        if not meta.waits_for(list(tokens)):
            return tokens
        for site, token in tokens.items():
            links[site].send(Cancel(job.id, token))
        reasons = "; ".join(f"{site}: {answer.reason}" for site, answer in answers.items() if not answer.token)
        self._table.wait(job.id, f"{meta.waits_for(list(tokens))} ({reasons})")
        return None

    async def _check(self, run: str, link: Link, spec: dict[str, Any]) -> Checked:
        try:
            answer: Checked = await self._ask(link, Check(run, spec), Checked, CHECK_SECONDS)
        except SundogError as exc:
            return Checked(run, "", exc.what)
        return answer

    async def _ask(self, link: Link, message: Message, wanted: type[Message], seconds: float, *body: bytes) -> Any:
        key = (link.peer.name, message.run, wanted)  # type: ignore[attr-defined]
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        link.send(message, *body)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise SiteNotReady(f"no answer to {type(message).__name__} within {seconds:g} s", where=link.peer.name) from None
        finally:
            self._answers.pop(key, None)

    def answered(self, site: str, message: Checked | Deployed | Started) -> None:
        """A site's answer came in."""
        waiting = self._answers.get((site, message.run, type(message)))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def site_lost(self, site: str) -> None:
        """A site's link is down: who waits for an answer of it need not wait longer."""
        for (name, _, _), waiting in self._answers.items():
            if name == site and not waiting.done():
                waiting.set_exception(SiteNotReady("its link was lost", where=site))

    # --- Deploy and Start ---------------------------------------------------------------------------------------

    async def _dispatch(self, job: Job, tokens: dict[str, str]) -> None:
        with ExitStack() as undo:
            undo.callback(self._give_back, job.id, tokens)
            dispatched = Dispatched(job, await self._jobs.prepare(job), tokens)
            if self._table.find(job.id).status is Status.SUBMITTED:  # not aborted meanwhile
                await self._jobs.change(job.id, Status.DISPATCHED, sites=sorted(tokens))
                await self._deploy_all(dispatched)
            links = {site: self._link(site) for site in tokens}
            if self._table.find(job.id).status is not Status.DISPATCHED:
                return
            self._start(dispatched)
            undo.pop_all()
        for site, link in links.items():
            link.send(StartRun(job.id, tokens[site], sorted(tokens), dispatched.prepared.folder.meta.seed))

    async def _deploy_all(self, dispatched: Dispatched) -> None:
        everywhere = (self._deploy_here(dispatched), *(self._deploy(dispatched, site) for site in dispatched.tokens))
        results = await asyncio.gather(*everywhere, return_exceptions=True)
        for error in filter(None, results):
            raise error

    def _link(self, site: str) -> Link:
        link = self._links().get(site)
        if link is None:
            raise SiteNotReady("its link was lost", where=site)
        return link

    def _give_back(self, run: str, tokens: dict[str, str]) -> None:
        for site, link in self._links().items():
            if site in tokens:
                link.send(Cancel(run, tokens[site]))

    async def _deploy(self, dispatched: Dispatched, site: str) -> None:
        folder, link = dispatched.prepared.folder, self._link(site)
        app = folder.app_for(site)
        if app is None:
            raise DeployFailed(Failure(DeployFailed.code, "no app of the job is for it", site=site))
        manifest = dispatched.prepared.app_manifest(app)
        offer_folder(link, manifest, folder.path_of(app))
        try:
            deploy = Deploy(dispatched.job.id, {"threads": folder.meta.threads, "durability": folder.meta.durability})
            answer: Deployed = await self._ask(link, deploy, Deployed, DEPLOY_SECONDS, manifest.encode())
        finally:
            withdraw_folder(link, manifest, folder.path_of(app))
        if answer.failure is not None:
            raise DeployFailed(answer.failure)


class DeployFailed(JobError):
    """A site could not take its app.

    Cause: the message is the site's own.

    Cure: mend what it names at that site.
    """

    code = "SD-4202"

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.what, where=failure.site)
        self.failure = failure
