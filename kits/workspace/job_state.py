"""Which jobs are there, in which state, since when and why?

The table's truth is the project's journal: one JobChanged a change of state. What a job waits for is not kept; it is
found anew whenever the scheduler looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ...kernel.errors import AdminError, JobError
from ..protocol.records import LEGAL_NEXT, JobChanged, JobDeleted, Status
from .journal import Journal, JournalFailed


class IllegalChange(JobError):
    """A job cannot go from its state to the one asked for.

    Cause: the job came to its end in the meantime; or a fault in the server.

    Cure: `list_jobs -d` shows the job's history; if it does not explain the message, report it.
    """

    code = "SD-4031"


class NoSuchJob(AdminError):
    """No job's id begins so.

    Cause: the id is misspelt or belongs to another project.

    Cure: `list_jobs` shows the ids.
    """

    code = "SD-4032"


class AmbiguousJob(AdminError):
    """Several jobs' ids begin so.

    Cause: the beginning given is too short.

    Cure: give more of the id; the message lists the candidates.
    """

    code = "SD-4033"


DELETED_REMEMBERED = 1000
"""So many ids of deleted jobs are kept in memory, for a `delete_job` that comes twice."""


@dataclass(frozen=True, slots=True)
class Change:
    """A state a job came to."""

    status: Status
    time_seconds: float
    """Seconds since 1970."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is now; a change gives another one."""

    id: str
    meta: Mapping[str, Any]
    """What meta.json says."""
    history: tuple[Change, ...]
    request: str = ""
    """The submitter's own id for this submission."""
    content: str = ""
    """The hash of the job's manifest."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the server knows besides: submitter, sites of the run…"""
    waits_for: str = ""
    """Why it has not started yet, in words."""

    @property
    def name(self) -> str:
        """What lists show."""
        return str(self.meta.get("name", ""))

    @property
    def status(self) -> Status:
        """The state it is in."""
        return self.history[-1].status

    @property
    def reason(self) -> str:
        """Why it is in this state, if there is something to say."""
        return self.history[-1].reason

    @property
    def submitted_seconds(self) -> float:
        """When it was submitted, in seconds since 1970."""
        return self.history[0].time_seconds

    @property
    def started_seconds(self) -> float | None:
        """When it began to run, in seconds since 1970; None if it has not."""
        return next((change.time_seconds for change in self.history if change.status is Status.RUNNING), None)

    def duration_seconds(self, now: float) -> float:
        """How long it has run; 0 if it has not."""
        started = self.started_seconds
        if started is None:
            return 0.0
        return max(0.0, (self.history[-1].time_seconds if self.status.is_end else now) - started)


def changed(job: Job, status: Status, time_seconds: float, reason: str = "") -> Job:
    """The job in its next state, with the time in its history.

    Raises:
        IllegalChange: LEGAL_NEXT does not have it.
    """
    if status not in LEGAL_NEXT.get(job.status, frozenset()):
        wanted = ", ".join(sorted(LEGAL_NEXT.get(job.status, ()))) or "nothing, it has ended"
        raise IllegalChange(f"after {job.status} comes {wanted}, not {status}", where=job.id)
    waits_for = job.waits_for if status is Status.SUBMITTED else ""
    return replace(job, history=(*job.history, Change(status, time_seconds, reason)), waits_for=waits_for)


class JobTable:
    """All jobs of a project.

    A change shows at once; the future that comes with it is done when it is durable. Answer nobody before.
    It is empty, and nothing can be changed, until its journal is opened.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._opened: Journal | None = None
        self._jobs: dict[str, Job] = {}
        self._by_request: dict[str, str] = {}
        self._deleted: dict[str, None] = {}

    def open(self, journal: Journal) -> Self:
        """Bring the jobs to where the journal leaves them; changes go there from now on, and `close` closes it."""
        self._opened = journal
        for record in journal.found:
            if isinstance(record, JobChanged):
                self._keep(_replayed(self._jobs.get(record.job), record))
            elif isinstance(record, JobDeleted):
                self._forget(record.job)
        return self

    async def close(self) -> None:
        """Close the journal, when all is written. Twice is fine."""
        journal, self._opened = self._opened, None
        if journal is not None:
            with contextlib.suppress(JournalFailed):  # whoever made the change was told
                await journal.close()

    @property
    def _journal(self) -> Journal:
        if self._opened is None:
            raise RuntimeError("the table of jobs has no open journal")
        return self._opened

    def submit(
        self, meta: Mapping[str, Any], *, request: str, job_id: str = "", content: str = "", extra: Mapping[str, Any] | None = None
    ) -> tuple[Job, asyncio.Future[None]]:
        """Take a job in, with a new id unless one is given; the same request again gives the same job and changes nothing."""
        known = self._by_request.get(request)
        if known is not None:
            return self._jobs[known], self._journal.append([])
        first = Change(Status.SUBMITTED, self._clock())
        job = Job(job_id or str(uuid.uuid4()), dict(meta), (first,), request, content, dict(extra or {}))
        return job, self._record(job)

    def by_request(self, request: str) -> Job | None:
        """The job that a submitter's request made, if it did."""
        return self._jobs.get(self._by_request.get(request, ""))

    def change(self, job_id: str, status: Status, reason: str = "", **extra: Any) -> asyncio.Future[None]:
        """Bring a job to its next state; `extra` is added to what the server knows of it.

        Raises:
            IllegalChange: LEGAL_NEXT does not have it.
        """
        job = changed(self._jobs[job_id], status, self._clock(), reason)
        return self._record(replace(job, extra={**job.extra, **extra}))

    def delete(self, job_id: str, admin: str) -> asyncio.Future[None]:
        """Take a job out; the record of it stays in the journal, and the id is never used again."""
        self._forget(job_id)
        return self._journal.append([JobDeleted("", job_id, self._clock(), admin)])

    def withdraw(self, job_id: str) -> None:
        """Take out a job whose submission could not be written."""
        job = self._jobs.pop(job_id)
        if self._by_request.get(job.request) == job_id:
            del self._by_request[job.request]

    @property
    def deleted(self) -> list[str]:
        """Ids of the jobs that were deleted last, the oldest first."""
        return list(self._deleted)

    def find_deleted(self, prefix: str) -> str:
        """The id of the job that was deleted last and whose id begins so; empty if there is none."""
        return next((job_id for job_id in reversed(self._deleted) if prefix and job_id.startswith(prefix)), "")

    def wait(self, job_id: str, reason: str) -> None:
        """Say why a submitted job does not start yet."""
        self._jobs[job_id] = replace(self._jobs[job_id], waits_for=reason)

    def find(self, prefix: str) -> Job:
        """The one job whose id begins so.

        Raises:
            NoSuchJob, AmbiguousJob: there is none, or there are several.
        """
        if prefix in self._jobs:
            return self._jobs[prefix]
        found = [job_id for job_id in self._jobs if prefix and job_id.startswith(prefix)]
        if not found:
            raise NoSuchJob(f"no job's id begins with {prefix!r}")
        if len(found) > 1:
            raise AmbiguousJob(f"{prefix!r} could be {', '.join(found[:8])}")
        return self._jobs[found[0]]

    def listing(self, name_prefix: str = "", id_prefix: str = "") -> list[Job]:
        """Jobs whose name and id begin so, the newest first."""
        return [job for job in reversed(self._jobs.values()) if job.name.startswith(name_prefix) and job.id.startswith(id_prefix)]

    def in_state(self, *wanted: Status) -> list[Job]:
        """Jobs in one of some states, the oldest first."""
        return [job for job in self._jobs.values() if job.status in wanted]

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def __repr__(self) -> str:
        return f"JobTable({len(self)} jobs, {len(self.in_state(Status.RUNNING))} running)"

    def _record(self, job: Job) -> asyncio.Future[None]:
        kept = {"meta": job.meta, "request": job.request, "content": job.content, "extra": job.extra, "reason": job.reason}
        durable = self._journal.append([JobChanged("", job.id, job.status, job.history[-1].time_seconds, kept)])
        self._keep(job)  # last: a job whose record cannot be encoded is none
        return durable

    def _forget(self, job_id: str) -> None:
        self.withdraw(job_id)
        self._deleted[job_id] = None
        if len(self._deleted) > DELETED_REMEMBERED:
            del self._deleted[next(iter(self._deleted))]

    def _keep(self, job: Job) -> None:
        self._jobs[job.id] = job
        if job.request:
            self._by_request[job.request] = job.id


def _replayed(job: Job | None, record: JobChanged) -> Job:
    """The job after one more record of the journal."""
    kept, status = record.meta, Status(record.status)
    change = Change(status, record.time_seconds, kept["reason"])
    history = (*job.history, change) if job else (change,)
    return Job(record.job, kept["meta"], history, kept["request"], kept["content"], kept["extra"])
