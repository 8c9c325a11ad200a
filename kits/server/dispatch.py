"""Dispatch of waiting jobs: reservation at the sites, deployment, start (PROTOCOL §6).

Nothing polls: a look is taken when a job is submitted or ends, and when a site comes, goes or has other resources free. In
the scheduler's order each job asks its sites (Check); one that gets enough tokens is deployed and started. All of that is
done in a task of the job's own, so that a slow site holds up nothing but the jobs that want it. Two jobs that want the
same site ask it one after the other, so the first never finds there what the second holds for a moment.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import structlog

from ...kernel.errors import ComponentError, Failure, SundogError
from ...kernel.operator_roles import RunningJob, Scheduler, WaitingJob
from ...transports.link.link import Link
from ..protocol.messages import Checked, Deployed, Started, StartRun
from ..protocol.records import Status
from ..supervisor.tasks import Tasks
from ..workspace.job_meta import JobMeta
from ..workspace.job_state import Job, JobTable, NoSuchJob
from .site_calls import DeployFailed, Dispatched, Prepared, SiteCalls, SiteNotReady, SiteRefuses

log = structlog.get_logger()
RENEW_SECONDS = 10.0
"""Reservations, which hold for 30 s, are renewed so often while a job is deployed."""
MAX_RESOURCES = 64
MAX_RESOURCE_CHARACTERS = 64
MAX_UNITS = 1024
"""Bounds of what a site may say that it has free."""


class UnknownJobOrdered(ComponentError):
    """A scheduler named a job that is not waiting.

    Cause: a mistake in the scheduler that the server's kit names: `order` gives ids of jobs from `waiting` only.

    Cure: correct the scheduler; until then no job starts.
    """

    code = "SD-4272"


class JobList(Protocol):
    """What the dispatcher needs of the server's jobs."""

    table: JobTable

    def waiting(self) -> list[Job]:
        """Submitted jobs, the oldest first."""

    def meta(self, job: Job) -> JobMeta:
        """What a job wants."""

    async def prepare(self, job: Job) -> Prepared:
        """Read a job anew."""

    def change(self, job_id: str, status: Status, reason: str = "", **extra: Any) -> asyncio.Future[None]:
        """Bring a job to its next state."""

    def break_run(self, job_id: str, failure: Failure) -> bool:
        """End a run as failed; False if it has not begun."""

    def moved(self) -> None:
        """Tell those who watch."""


@dataclass(eq=False)
class _Attempt:
    """A job on its way from waiting to running at all its sites."""

    job: Job
    meta: JobMeta
    sites: frozenset[str]
    ahead: tuple[_Attempt, ...]
    """Attempts that hold tokens of some of these sites and wait for other sites: they may give them back."""
    looks: int
    """How many looks there had been when it began."""
    unanswered: set[str]
    """Sites whose first Check is not answered."""
    tokens: dict[str, str] = field(default_factory=dict)
    """Site → token, from Check until Started; what is left when the task ends is given back."""
    is_decided: bool = False
    """All sites have answered."""
    is_dispatched: bool = False
    gave_back: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def awaited(self) -> Collection[str]:
        """Sites that no other job is asked about yet: they have not answered; or all have, and what comes of it is not known."""
        return () if self.is_decided else self.unanswered or self.sites

    async def check(self, calls: SiteCalls, site: str) -> None:
        """Reserve at a site, or renew the reservation. Raises: SiteNotReady, SiteRefuses."""
        self.tokens[site] = await calls.check(self.job.id, site, self.meta.resource_spec.get(site, {}))


class Dispatcher:
    """Brings waiting jobs to run."""

    def __init__(
        self,
        jobs: JobList,
        scheduler: Scheduler,
        *,
        sites: SiteCalls,
        deploy_here: Callable[[Dispatched], Awaitable[None]],
        start: Callable[[Dispatched], None],
        started: Callable[[str, Started], None],
    ) -> None:
        """Make one that waits for `run`.

        Args:
            jobs: what waits.
            scheduler: decides on the order.
            sites: asks the sites that are connected.
            deploy_here: puts the server's own app in place.
            start: begins the run at the server.
            started: is told of a site that cannot start a run, or that has started it only now, after its link was lost.
        """
        self._jobs = jobs
        self._table = jobs.table
        self._scheduler = scheduler
        self._sites = sites
        self._deploy_here = deploy_here
        self._start = start
        self._started = started
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        """Set, and replaced, at each look."""
        self._tasks = Tasks("dispatcher")
        self._attempts: dict[str, _Attempt] = {}
        self._refused: dict[str, tuple[_Attempt, ...]] = {}
        """Jobs that were refused since the last look → who was ahead of them."""
        self._looks = 0
        self._is_held = False
        """Whether a job waits for the answer that a site owes to another one."""
        self.free: dict[str, dict[str, Any]] = {}
        """Connected site → what it said last that it has free."""
        self._runs_at: dict[str, frozenset[str]] = {}
        """Connected site → the runs in its last Sync."""

    # --- what happens -------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Something changed: each waiting job may be tried again."""
        self._refused.clear()
        self._looks += 1
        self._wake.set()
        self._news.set()
        self._news = asyncio.Event()

    def synced(self, site: str, runs: Iterable[str], free: dict[str, Any]) -> None:
        """A site says, at the beginning of a connection or when a run has ended there, what it runs and has free."""
        self._runs_at[site] = frozenset(runs)
        self.free[site] = _checked_free(site, free)
        self.look()

    def free_now(self, site: str, free: dict[str, Any]) -> None:
        """A site has other resources free: the scheduler is asked again, but no job that was just refused is tried again."""
        self.free[site] = _checked_free(site, free)
        self._wake.set()

    def answered(self, site: str, message: Checked | Deployed | Started) -> None:
        """A site's answer came in; what answers no question changes nothing."""
        if self._sites.answered(site, message) and isinstance(message, Checked):
            self._answered_late(site, message)

    def _answered_late(self, site: str, message: Checked) -> None:
        attempt = self._attempts.get(message.run)
        if message.token and attempt is not None and attempt.is_dispatched and site in attempt.tokens:
            attempt.tokens[site] = message.token  # a renewal
            return
        if message.token:
            self._sites.cancel(site, message.run, message.token)
        self.look()

    def site_lost(self, site: str) -> None:
        """A site's link is down: who waits for an answer of it need not wait longer."""
        self._runs_at.pop(site, None)
        self.free.pop(site, None)
        self._sites.site_lost(site)
        self.look()

    def is_starting(self, run: str, site: str) -> bool:
        """Whether it is not known yet that a site has started a run."""
        attempt = self._attempts.get(run)
        return attempt is not None and site in attempt.tokens

    # --- the look -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._stop_what_is_over()
                why = self._try_all()
                for place, job in enumerate(self._jobs.waiting()):
                    if job.id not in self._attempts and (why or not job.waits_for):
                        self._table.wait(job.id, why or f"waits in the queue, place {place + 1}")
                self._jobs.moved()
        finally:
            await self._tasks.close()

    def _stop_what_is_over(self) -> None:
        """End the tasks of jobs that were aborted, or aborted and deleted; those of the others go on."""
        for job_id, attempt in self._attempts.items():
            if self._is_over(job_id) and attempt.task is not None:
                attempt.task.cancel()

    def _is_over(self, job_id: str) -> bool:
        try:
            return self._table.find(job_id).status.is_end
        except NoSuchJob:
            return True

    def _try_all(self) -> str:
        """Try what can be tried now; why nothing can at all, if that is so."""
        try:
            while self._try_next():
                pass
        except Exception as exc:  # the scheduler's: it is the operator's, or a plugin's
            log.exception("scheduler_failed", scheduler=type(self._scheduler).__name__)
            return f"the scheduler failed: {Failure.of(exc)}"
        return ""

    def _try_next(self) -> bool:
        """Begin with the first job that may be tried; False if there is none. The scheduler is asked again after each."""
        links = self._sites.links()
        held = {site for attempt in self._attempts.values() for site in attempt.awaited}
        self._is_held = False
        for job, meta in self._in_order(links):
            sites = _sites(meta, links)
            if not self._may_be_tried(job.id):
                continue
            if reason := meta.waits_for(links):
                self._table.wait(job.id, reason)
            elif sites & held:
                self._is_held = True
                held |= sites  # and those behind it do not overtake it there
            else:
                self._begin(job, meta, sites)
                return True
        return False

    def _in_order(self, links: Mapping[str, Link], tried: _Attempt | None = None) -> list[tuple[Job, JobMeta]]:
        """The waiting jobs as the scheduler orders them; `tried`, whose sites were asked already, as if it were waiting.

        Raises:
            UnknownJobOrdered: it named another one. And whatever else it raises.
        """
        others = self._attempts.keys() - ({tried.job.id} if tried else set())
        jobs = {job.id: (job, self._jobs.meta(job)) for job in self._jobs.waiting() if job.id not in others}
        free = {site: self.free.get(site, {}) for site in links}
        order = self._scheduler.order([_waiting(*pair) for pair in jobs.values()], self._running(others), free)
        if unknown := next((job_id for job_id in order if job_id not in jobs), None):
            raise UnknownJobOrdered(f"{unknown!r:.80} is not among the waiting jobs")
        return [jobs[job_id] for job_id in order]

    def _is_overtaken(self, attempt: _Attempt) -> bool:
        """Whether a job that comes before this one was refused, but could now have what this one was given meanwhile."""
        links = self._sites.links()
        try:
            for job, meta in self._in_order(links, attempt):
                if job.id == attempt.job.id:
                    return False
                if _sites(meta, links) & attempt.sites and self._may_be_tried(job.id) and not meta.waits_for(links):
                    return True
        except Exception:  # the scheduler's; the next look tells
            log.exception("scheduler_failed", scheduler=type(self._scheduler).__name__)
        return False

    def _running(self, tried: Collection[str]) -> list[RunningJob]:
        """Jobs that hold resources, or are being tried."""
        dispatched = [(job, job.extra.get("sites", ())) for job in self._table.in_state(Status.DISPATCHED, Status.RUNNING, Status.PAUSED)]
        attempts = [attempt for job_id, attempt in self._attempts.items() if job_id in tried and not attempt.is_dispatched]
        asked = [(attempt.job, sorted(attempt.sites)) for attempt in attempts]
        return [_running(job, self._jobs.meta(job), sites) for job, sites in (*dispatched, *asked)]

    def _may_be_tried(self, job_id: str) -> bool:
        """Not twice at one look, unless one that was ahead of it has given back what it held."""
        ahead = self._refused.get(job_id)
        return ahead is None or any(attempt.gave_back for attempt in ahead)

    def _begin(self, job: Job, meta: JobMeta, sites: frozenset[str]) -> None:
        ahead = tuple(other for other in self._attempts.values() if not other.is_decided and other.sites & sites)
        attempt = self._attempts[job.id] = _Attempt(job, meta, sites, ahead, self._looks, set(sites))
        self._refused.pop(job.id, None)
        attempt.task = self._tasks.start(self._bring_to_run(attempt))

    # --- the task of one job ------------------------------------------------------------------------------------

    async def _bring_to_run(self, attempt: _Attempt) -> None:
        job_id = attempt.job.id
        try:
            if await self._reserve(attempt):
                await self._dispatch(attempt)
        except Exception as exc:  # noqa: BLE001  # whatever it is, it is this job's end and not that of the others
            self._not_started(job_id, exc)
        finally:
            self._give_back(attempt)
            del self._attempts[job_id]
            if attempt.is_dispatched:
                self.look()
            self._wake.set()

    def _not_started(self, job_id: str, exc: Exception) -> None:
        """What becomes of a job that could not be brought to run: a run that has begun ends by itself, and writes its own end."""
        failure = exc.failure if isinstance(exc, DeployFailed) else Failure.of(exc)
        if self._jobs.break_run(job_id, failure) or self._is_over(job_id):
            log.warning("job_not_started", job=job_id, code=failure.code, error=failure.what)
        elif isinstance(exc, SiteNotReady | SiteRefuses):  # it lasts no longer than the site is away or busy
            log.warning("job_waits_again", job=job_id, site=exc.where, reason=exc.what)
            self._jobs.change(job_id, Status.SUBMITTED, str(exc))
            self._wait(job_id, f"waits for {exc.where}: {exc.what}")
        else:
            log.warning("job_not_started", job=job_id, code=failure.code, error=failure.what)
            self._jobs.change(job_id, Status.EXECUTION_EXCEPTION, str(failure), failure=msgspec.to_builtins(failure))

    def _give_back(self, attempt: _Attempt) -> None:
        for site, token in attempt.tokens.items():
            if token:
                self._sites.cancel(site, attempt.job.id, token)
                attempt.gave_back = True
        attempt.tokens.clear()

    def _wait(self, job_id: str, reason: str) -> None:
        if not self._is_over(job_id):
            self._table.wait(job_id, reason)

    async def _reserve(self, attempt: _Attempt) -> bool:
        """Get a token of each site that can run the job now; False if they are too few, or it is another one's turn."""
        sites = sorted(attempt.sites)
        refusals = await asyncio.gather(*(self._reserve_at(attempt, site) for site in sites))
        attempt.is_decided = True
        missing = attempt.meta.waits_for(list(attempt.tokens))
        if not missing:
            return not self._is_overtaken(attempt)
        if attempt.looks == self._looks:  # else the answers may be older than what has changed
            self._refused[attempt.job.id] = attempt.ahead
        reasons = "; ".join(f"{site}: {reason}" for site, reason in zip(sites, refusals, strict=True) if reason)
        self._wait(attempt.job.id, f"{missing} ({reasons})")
        return False

    async def _reserve_at(self, attempt: _Attempt, site: str) -> str:
        """Why a site gave no token; empty if it did."""
        try:
            await attempt.check(self._sites, site)
        except SundogError as exc:
            return exc.what
        finally:
            attempt.unanswered.discard(site)
            if self._is_held:
                self._wake.set()
        return ""

    # --- Deploy and Start ---------------------------------------------------------------------------------------

    async def _dispatch(self, attempt: _Attempt) -> None:
        job, sites = attempt.job, tuple(sorted(attempt.tokens))
        attempt.is_dispatched = True
        await asyncio.shield(self._jobs.change(job.id, Status.DISPATCHED, sites=sites))
        dispatched = Dispatched(job, await self._jobs.prepare(job), sites)
        await self._deploy_all(attempt, dispatched)
        for site in sites:
            self._sites.link(site)
        if self._is_over(job.id):
            return
        self._start(dispatched)
        starting = [asyncio.create_task(self._start_at(attempt, dispatched, site)) for site in sites]
        try:
            await asyncio.gather(*starting)
        finally:
            for one in starting:
                one.cancel()

    async def _deploy_all(self, attempt: _Attempt, dispatched: Dispatched) -> None:
        """Deploy everywhere, and meanwhile keep what is reserved."""
        deploying = asyncio.create_task(self._deploy_everywhere(dispatched))
        try:
            while not (await asyncio.wait([deploying], timeout=RENEW_SECONDS))[0]:
                await _all_of(self._renew(attempt, site) for site in dispatched.sites)
            await deploying
        finally:
            deploying.cancel()

    async def _deploy_everywhere(self, dispatched: Dispatched) -> None:
        await _all_of((self._deploy_here(dispatched), *(self._sites.deploy(dispatched, site) for site in dispatched.sites)))

    async def _renew(self, attempt: _Attempt, site: str) -> None:
        try:
            await attempt.check(self._sites, site)
        except SiteNotReady as exc:  # its deployment fails, or StartRun will tell
            log.warning("reservation_not_renewed", job=attempt.job.id, site=site, reason=exc.what)

    async def _start_at(self, attempt: _Attempt, dispatched: Dispatched, site: str) -> None:
        """Say StartRun, and wait until the site has started the run: it was told over a link that may just have been lost."""
        is_new = False
        try:
            started: Started | None = await self._sites.start_run(site, _start_run(attempt, dispatched, site))
        except SiteNotReady:
            started, is_new = await self._start_again(attempt, dispatched, site), True
        del attempt.tokens[site]
        if started is not None and (is_new or started.failure is not None):
            self._started(site, started)

    async def _start_again(self, attempt: _Attempt, dispatched: Dispatched, site: str) -> Started | None:
        """Check, Deploy and Start once more when the site is back, until it has heard it; None if it says that it runs."""
        run = attempt.job.id
        attempt.tokens[site] = ""
        log.warning("start_not_confirmed", job=run, site=site)
        while True:
            news, runs = self._news, self._runs_at.get(site)
            if runs is not None and run in runs:
                return None
            try:
                if runs is not None:
                    await attempt.check(self._sites, site)
                    await self._sites.deploy(dispatched, site)
                    started: Started = await self._sites.start_run(site, _start_run(attempt, dispatched, site))
                    return started
            except DeployFailed as exc:
                return Started(run, exc.failure)
            except (SiteNotReady, SiteRefuses) as exc:
                log.warning("site_not_started", job=run, site=site, reason=exc.what)
            await news.wait()


async def _all_of(work: Iterable[Awaitable[None]]) -> None:
    """Wait until all is done; then raise the first error, if there is one."""
    for error in filter(None, await asyncio.gather(*work, return_exceptions=True)):
        raise error


def _checked_free(site: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What a scheduler may see of what a site says that it has free."""
    known = [(name, value) for name, value in said.items() if len(name) <= MAX_RESOURCE_CHARACTERS and _is_amount(value)]
    free = dict(known[:MAX_RESOURCES])
    if len(free) < len(said):
        log.warning("free_resources_dropped", site=site, dropped=len(said) - len(free))
    return free


def _is_amount(value: Any) -> bool:
    """Whether it is a number from 0 on, or a list of units."""
    if isinstance(value, list):
        return len(value) <= MAX_UNITS and all(_is_unit(unit) for unit in value)
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_unit(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_RESOURCE_CHARACTERS
    return isinstance(value, int) and not isinstance(value, bool)


def _sites(meta: JobMeta, links: Mapping[str, Link]) -> frozenset[str]:
    """The connected sites that a job wants."""
    return frozenset(links if meta.sites is None else meta.sites) & links.keys()


def _start_run(attempt: _Attempt, dispatched: Dispatched, site: str) -> StartRun:
    return StartRun(attempt.job.id, attempt.tokens[site], list(dispatched.sites), attempt.meta.seed)


def _waiting(job: Job, meta: JobMeta) -> WaitingJob:
    return WaitingJob(
        id=job.id, name=job.name, submitter=job.extra.get("submitter", ""), priority=meta.priority,
        submitted_seconds=job.submitted_seconds, sites=meta.sites, min_sites=meta.min_sites,
        mandatory_sites=tuple(meta.mandatory_clients), resource_spec=meta.resource_spec, meta=job.meta,
    )  # fmt: skip


def _running(job: Job, meta: JobMeta, sites: Iterable[str]) -> RunningJob:
    return RunningJob(
        id=job.id, name=job.name, submitter=job.extra.get("submitter", ""), priority=meta.priority,
        submitted_seconds=job.submitted_seconds, started_seconds=job.started_seconds, sites=tuple(sites),
        resource_spec=meta.resource_spec, meta=job.meta,
    )  # fmt: skip
