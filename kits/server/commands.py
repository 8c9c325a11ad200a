"""What does the server do at each command of an admin, and how does it answer?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from ...kernel.errors import AdminError, Failure, SundogError
from ...kernel.operator_roles import Subject
from ...transports.link import Link
from ..protocol import requests as ask
from ..protocol.answers import (
    AbortedJob,
    ClonedJob,
    DeletedJob,
    JobChange,
    JobDetail,
    JobList,
    JobReport,
    JobRow,
    Nothing,
    SessionList,
    SubmittedJob,
)
from ..protocol.file_answers import LogPiece
from ..protocol.messages import Command, Reply
from ..protocol.records import Status
from ..supervisor.access import demand
from ..supervisor.waiting import Waiting
from ..workspace.job_state import Job, NoSuchJob
from .deliveries import Deliveries, StillRunning
from .files import look_at_files
from .logs import read_log
from .report import failure_of
from .status import check_status

if TYPE_CHECKING:
    from .server import Server

log = structlog.get_logger()
Act = Callable[[Link, Any], Awaitable[msgspec.Struct]]


class UnknownCommand(AdminError):
    """The server does not know a command.

    Cause: the admin's program is newer than the server.

    Cure: compare `sundog --version` on both sides.
    """

    code = "SD-6001"


class ArgumentsRefused(AdminError):
    """The server cannot make sense of a command's arguments.

    Cause: the admin's program is newer than the server, or a program of somebody's own speaks to it.

    Cure: compare `sundog --version` on both sides; the message names the argument.
    """

    code = "SD-6004"


class AlreadyEnded(AdminError):
    """A job that was to be aborted has come to another end.

    Cause: it ended before the command arrived.

    Cure: nothing to mend; `get_job_report` tells what came out.
    """

    code = "SD-6006"


class Commands:
    """The commands, by name; each is its arguments' type and what is done."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._deliveries = Deliveries(server)
        self._under_way: set[tuple[Link, str]] = set()
        self.waiting: Waiting[tuple[Link, str]] = Waiting()
        """Those that only wait, by who gave them and their number."""
        acts: dict[type[ask.Request], Act] = {
            ask.CheckStatus: self._check_status,
            ask.SubmitJob: self._submit_job,
            ask.ListJobs: self._list_jobs,
            ask.GetJobReport: self._get_job_report,
            ask.WatchJob: self._watch_job,
            ask.ReadLog: self._read_log,
            ask.AbortJob: self._abort_job,
            ask.DeleteJob: self._delete_job,
            ask.CloneJob: self._clone_job,
            ask.ListSessions: self._list_sessions,
            ask.DownloadJob: self._download_job,
            ask.DownloadDone: self._download_done,
            **dict.fromkeys(ask.FILE_REQUESTS, self._look_at_files),
        }
        self._table = {kind.command: (kind, act) for kind, act in acts.items()}

    async def answer(self, link: Link, message: Command, body: bytes) -> None:
        """Do it, and say what came of it. Sent again while it is under way (the connection was lost): answered once."""
        key = (link, message.request)
        if key in self._under_way:
            return
        self._under_way.add(key)
        log.info("command", name=message.name, admin=link.peer.name, request=message.request)
        try:
            with self._server.sessions.active(link):
                answer = await self._act(link, message, body)
            link.send(Reply(message.request), msgspec.json.encode(answer))
        except Exception as exc:  # noqa: BLE001  # whatever it is: somebody waits for an answer
            failure = Failure.of(exc)
            log.warning("command_refused", name=message.name, admin=link.peer.name, code=failure.code, reason=failure.what)
            where = exc.where if isinstance(exc, SundogError) else ""  # not the line of our own code
            link.send(Reply(message.request, msgspec.structs.replace(failure, where=where, trace="")))
        finally:
            self._under_way.discard(key)

    async def _act(self, link: Link, message: Command, body: bytes) -> msgspec.Struct:
        name = message.name
        if name not in self._table:
            raise UnknownCommand(f"there is no command {name!r:.80} at this server")
        kind, act = self._table[name]
        try:
            arguments = msgspec.json.decode(body or b"{}", type=kind)
        except (msgspec.DecodeError, ValueError) as exc:  # ValueError: text that is not UTF-8
            raise ArgumentsRefused(str(exc), where=name) from exc
        demand(self._server.access, Subject(link.peer.name, "", link.peer.role), name, self._about(arguments))
        with self.waiting.here((link, message.request)) if kind.only_waits else nullcontext():
            return await act(link, arguments)

    def _about(self, asked: ask.Request) -> dict[str, Any]:
        """What an access rule is told of a command."""
        about: dict[str, Any] = {"right": asked.right}
        if isinstance(asked, ask.FileRequest):
            about["target"] = asked.target
        if hasattr(asked, "job_id"):
            with suppress(AdminError):  # the command itself says so, to those who may give it
                job = self._server.jobs.table.find(asked.job_id)
                return {**about, "job_id": job.id, "job": job.meta}
            about["job_id"] = asked.job_id
        return about

    async def _check_status(self, link: Link, asked: ask.CheckStatus) -> msgspec.Struct:
        return await check_status(self._server, link.peer.name, asked)

    async def _submit_job(self, link: Link, asked: ask.SubmitJob) -> SubmittedJob:
        return await self._deliveries.submit(link, asked)

    async def _list_jobs(self, _link: Link, asked: ask.ListJobs) -> JobList:
        now = self._server.now()
        jobs = self._server.jobs.table.listing(asked.name_prefix, asked.id_prefix)
        return JobList([_row(job, _detail(job) if asked.detailed else None, now) for job in jobs])

    async def _get_job_report(self, _link: Link, asked: ask.GetJobReport) -> JobReport:
        return self._server.jobs.report(self._server.jobs.table.find(asked.job_id))

    async def _watch_job(self, _link: Link, asked: ask.WatchJob) -> JobReport:
        job_id = self._server.jobs.table.find(asked.job_id).id
        seen = (asked.seen.status, asked.seen.rounds, asked.seen.waits_for) if asked.seen is not None else (None,)
        report = await self._server.jobs.next_report(job_id, seen)
        return msgspec.structs.replace(report, rounds=report.rounds[asked.seen.rounds :]) if asked.seen is not None else report

    async def _read_log(self, link: Link, asked: ask.ReadLog) -> LogPiece:
        return await read_log(self._server, link, asked)

    async def _abort_job(self, link: Link, asked: ask.AbortJob) -> AbortedJob:
        job = self._server.jobs.table.find(asked.job_id)
        await self._server.abort_job(job, f"aborted by {link.peer.name}")
        ended = self._server.jobs.table.find(job.id)
        if ended.status is not Status.ABORTED:
            raise AlreadyEnded(f"the job has ended as {ended.status}", where=job.id)
        return AbortedJob(job.id, str(ended.status))

    async def _delete_job(self, link: Link, asked: ask.DeleteJob) -> DeletedJob:
        table = self._server.jobs.table
        try:
            job = table.find(asked.job_id)
        except NoSuchJob:
            if gone := table.find_deleted(asked.job_id):  # asked twice
                return DeletedJob(gone)
            raise
        if not job.status.is_end:
            raise StillRunning(f"the job is {job.status}", where=job.id)
        await self._server.jobs.delete(job, link.peer.name)
        return DeletedJob(job.id)

    async def _clone_job(self, link: Link, asked: ask.CloneJob) -> ClonedJob:
        return await self._deliveries.clone(link, asked)

    async def _list_sessions(self, _link: Link, _asked: ask.ListSessions) -> SessionList:
        return self._server.sessions.listing()

    async def _look_at_files(self, link: Link, asked: ask.FileRequest) -> msgspec.Struct:
        return await look_at_files(self._server, link, asked)

    async def _download_job(self, link: Link, asked: ask.DownloadJob) -> msgspec.Struct:
        return await self._deliveries.offer(link, asked)

    async def _download_done(self, link: Link, asked: ask.DownloadDone) -> Nothing:
        self._deliveries.done(link, asked.download)
        return Nothing()


def _row(job: Job, detail: JobDetail | None, now: float) -> JobRow:
    duration = round(job.duration_seconds(now), 3)
    return JobRow(job.id, job.name, str(job.status), job.submitted_seconds, duration, job.reason or job.waits_for, detail)


def _detail(job: Job) -> JobDetail:
    history = [JobChange(str(change.status), change.time_seconds, change.reason) for change in job.history]
    submitter, sites = str(job.extra.get("submitter", "")), list(job.extra.get("sites", []))
    return JobDetail(dict(job.meta), job.content, history, submitter, sites, failure_of(job))
