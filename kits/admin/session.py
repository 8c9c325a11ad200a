"""How does a Python program administer a federation? One method a command, called from any thread."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar, overload

import msgspec

from ...kernel.errors import AdminError, SundogError
from ..protocol.answers import AbortedJob, ClonedJob, DeletedJob, JobList, JobReport, Problem, ServerStatus, SessionList, SitesStatus
from ..protocol.requests import AbortJob, CheckStatus, CloneJob, DeleteJob, GetJobReport, ListJobs, ListSessions, Seen, WatchJob
from .answers import DownloadedJob, Waited
from .connection import NotAdmitted, NotSent, OutcomeUnknown
from .session_base import Deadline
from .session_files import SessionFiles

Status = TypeVar("Status", ServerStatus, SitesStatus)
Progress = Callable[[int, int], object]
"""Told bytes that are here, and bytes in all."""


class NotFinished(AdminError):
    """A job did not come to its end in the time it was given.

    Cause: it waits for sites, or takes longer.

    Cure: `get_job_report` tells how far it is; monitor_job again goes on watching.
    """

    code = "SD-6016"


class NotReached(AdminError):
    """A status was not reached in the time that it was given.

    Cause: a job still runs, or a site is not there.

    Cure: look at the last status that came with this message.
    """

    code = "SD-6017"


def is_stopped(status: ServerStatus) -> bool:
    """Whether no job runs at the server."""
    return status.engine_status == "stopped"


def have_no_jobs(status: SitesStatus) -> bool:
    """Whether every site answers, and none has a job."""
    return all(row.status == "No Jobs" for row in status.clients)


class Session(SessionFiles):
    """An admin's session with the server that its kit names; `with Session("poc/admin") as session:`.

    It connects by itself, and again when the connection is lost; a command waits for that. Every method may raise
    NotSent (nothing was done), OutcomeUnknown (it may have been done), RemoteError (the server refuses, with its own
    code) or SessionClosed. Threads may share one. Callbacks are called on the thread that called the method.

    Args:
        kit: the admin's folder, which holds startup/fed_admin.json.
        timeout: seconds that a command waits for a server that is not there, and for an ordinary answer.
        thread: whose event loop the connection lives on; default: one of its own. An inproc:// server needs it to be its own.
        timers: every wait of the link.

    Raises:
        NoKit, KitRefused: the folder is no admin's kit, or its file has mistakes.
    """

    # --- status -------------------------------------------------------------------------------------------------

    @overload
    def check_status(self, target: Literal["server"] = "server", sites: Sequence[str] = ()) -> ServerStatus: ...
    @overload
    def check_status(self, target: Literal["client"], sites: Sequence[str] = ()) -> SitesStatus: ...

    def check_status(self, target: Literal["server", "client"] = "server", sites: Sequence[str] = ()) -> ServerStatus | SitesStatus:
        """How the server is, or how sites are: those named, else all that were ever connected since the server started."""
        request = CheckStatus(target=target, sites=list(sites))
        if target == "server":
            return self._ask(request, ServerStatus, self._timeout)
        return self._ask(request, SitesStatus, self._timeout)

    def wait_until_server_status(self, timeout: float | None = None, callback: Callable[[ServerStatus], bool] = is_stopped) -> Waited:
        """Wait until the callback says True of the server's status; by default, until no job runs.

        Args:
            timeout: seconds; None: as long as it takes.
            callback: sees the status now, and each one after something has moved.

        Returns:
            What was reached; a timeout, or a lost server, is told in it and raises nothing.
        """
        return self._wait(CheckStatus(target="server"), ServerStatus, callback, timeout)

    def wait_until_client_status(
        self, timeout: float | None = None, callback: Callable[[SitesStatus], bool] = have_no_jobs, sites: Sequence[str] = ()
    ) -> Waited:
        """The same for the status of sites; by default, until all answer and none has a job."""
        return self._wait(CheckStatus(target="client", sites=list(sites)), SitesStatus, callback, timeout)

    def list_sessions(self) -> SessionList:
        """Which admins are connected to the server, this session among them, the oldest first."""
        return self._ask(ListSessions(), SessionList, self._timeout)

    # --- jobs ---------------------------------------------------------------------------------------------------

    def submit_job(self, folder: str | Path, *, request_id: str | None = None) -> str:
        """Submit a job; its id.

        Args:
            folder: relative to the kit's upload_dir, or absolute. A folder without meta.json is an app, which goes to everybody.
            request_id: the same again is the same job, however often it is submitted (letters, digits and ._-, at most 63).

        Raises:
            NoJob, JobRefused: seen here or at the server.
        """
        path = self.folder / self.kit.upload_dir / Path(folder).expanduser()
        return self._call(self._exchange.submit, path, request_id)

    def clone_job(self, job_id: str, *, request_id: str | None = None) -> ClonedJob:
        """Submit a job of the server's once more, as it was submitted; it has a new id, and a run of its own.

        Args:
            job_id: the job, in whatever state; the beginning of its id will do.
            request_id: the same again is the same clone (letters, digits and ._-, at most 63).

        Raises:
            RemoteError: SD-4032 if there is no such job, SD-6005 if the request id made a job of other files.
        """
        request = CloneJob(job_id=job_id, request=request_id or secrets.token_hex(8))
        return self._ask(request, ClonedJob, None)

    def delete_job(self, job_id: str) -> DeletedJob:
        """Remove a job that has ended, and its result, from the server. What sites keep of it stays there.

        Raises:
            RemoteError: SD-6002 if it has not ended; SD-4032 if there is no such job.
        """
        return self._ask(DeleteJob(job_id=job_id), DeletedJob, self._timeout)

    def list_jobs(self, name_prefix: str = "", id_prefix: str = "", *, detailed: bool = False) -> JobList:
        """The jobs whose name and id begin so, the newest first."""
        return self._ask(ListJobs(name_prefix=name_prefix, id_prefix=id_prefix, detailed=detailed), JobList, self._timeout)

    def job_report(self, job_id: str) -> JobReport:
        """What came out of a job, or how far it is. Here and below the beginning of an id will do."""
        return self._ask(GetJobReport(job_id=job_id), JobReport, self._timeout)

    get_job_report = job_report

    def abort_job(self, job_id: str) -> AbortedJob:
        """End a job; returns when it has ended. Aborting it twice is fine.

        Raises:
            RemoteError: SD-6006 if it came to another end before.
        """
        return self._ask(AbortJob(job_id=job_id), AbortedJob, self._timeout)

    def download_job(
        self, job_id: str, destination: str | Path | None = None, *, progress: Progress | None = None, timeout: float | None = None
    ) -> DownloadedJob:
        """Fetch a job that has ended, and its result, to `destination`/<id>/{job,workspace}.

        What broke off goes on where it was when it is asked for again; memory does not grow with the size.

        Args:
            destination: default: the kit's download_dir.
            progress: is told bytes here and bytes in all.
            timeout: seconds; None: as long as bytes come.

        Raises:
            DownloadExists: it is there; nothing is overwritten.
            DownloadNotKept: it cannot be written.
        """
        into = Path(destination).expanduser().absolute() if destination is not None else self.folder / self.kit.download_dir

        def told(news: tuple[int, int]) -> None:
            if progress is not None:
                progress(*news)

        with self._open():
            return self._thread.follow(lambda tell: self._exchange.download(job_id, into, timeout, tell), told)

    def monitor_job(self, job_id: str, callback: Callable[[JobReport], object] | None = None, timeout: float | None = None) -> JobReport:
        """Watch a job until it has ended; its report.

        Args:
            callback: sees the report now, and whenever state, number of rounds or what it waits for has changed.
            timeout: seconds; None: as long as it takes, also while the server is away.

        Raises:
            NotFinished: the time is over; the job goes on.
        """
        reports = self.reports(job_id, timeout)
        report = next(reports)
        while True:
            if callback is not None:
                callback(report)
            if report.is_end:
                return report
            report = next(reports)

    def reports(self, job_id: str, timeout: float | None = None) -> Iterator[JobReport]:
        """What `monitor_job` shows its callback, one report after the other; the last one is that of the end.

        Raises:
            NotFinished: see `monitor_job`.
        """
        deadline, report = Deadline(timeout), None
        while report is None or not report.is_end:
            try:
                news = self._ask(_news_of(job_id, report), JobReport, deadline.left)
                report = news if report is None else msgspec.structs.replace(news, rounds=[*report.rounds, *news.rounds])
            except (NotSent, OutcomeUnknown) as exc:
                if deadline.is_over:
                    state = f"is {report.status}" if report is not None else "could not be seen"
                    raise NotFinished(f"after {timeout:g} s it {state}", where=job_id) from exc
                if report is None or isinstance(exc, NotAdmitted):
                    raise
                continue  # the server is away; it will know the job when it is back
            yield report

    # --- pieces -------------------------------------------------------------------------------------------------

    def _wait(self, request: CheckStatus, answer: type[Status], holds: Callable[[Status], bool], timeout: float | None) -> Waited:
        deadline = Deadline(timeout)
        status: Status | None = None
        while True:
            after = status.revision if status is not None else None
            try:
                status = self._ask(msgspec.structs.replace(request, after=after), answer, deadline.left)
            except SundogError as exc:
                if deadline.is_over:
                    return Waited(is_reached=False, status=status, problem=Problem.of(NotReached(f"not within {timeout:g} s")))
                if timeout is None or isinstance(exc, NotAdmitted) or not isinstance(exc, (NotSent, OutcomeUnknown)):
                    return Waited(is_reached=False, status=status, problem=Problem.of(exc))
                continue  # the server is away, and there is time
            if holds(status):
                return Waited(is_reached=True, status=status)


def _news_of(job_id: str, report: JobReport | None) -> WatchJob:
    if report is None:
        return WatchJob(job_id=job_id)
    return WatchJob(job_id=report.job_id, seen=Seen(report.status, len(report.rounds), report.waits_for))
