"""Session: the administration of a federation from Python, one method a command, called from any thread."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, ParamSpec, Self, TypeVar, cast, overload

import msgspec

from ...kernel.errors import AdminError, SundogError
from ...transports.link import Timers
from ..commands import files, jobs, logs, status
from ..commands.declaration import Asked, Command, Said
from ..commands.jobs import AbortedJob, ClonedJob, DeletedJob, DownloadedJob, JobList, Seen
from ..commands.status import ServerStatus, SitesStatus
from ..protocol.answers import JobReport, Problem, SessionList
from ..protocol.file_answers import FileList, FileText, WorkingFolder
from ..protocol.requests import Cat, Grep, Head, Ls, Pwd, ReadLog, Tail
from ..workspace.kit import AdminKit, read_kit
from ..workspace.log import keep_quiet
from .connection import AdminConnection, NotAdmitted, NotSent, OutcomeUnknown, SessionClosed
from .exchange import Exchange
from .loop_thread import LoopThread

P = ParamSpec("P")
T = TypeVar("T")
Status = TypeVar("Status", ServerStatus, SitesStatus)
Progress = Callable[[int, int], object]
"""Told bytes that are here, and bytes in all."""
USUAL: Final = -1.0
"""The timeout of the session."""


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


class Waited(msgspec.Struct, frozen=True):
    """What came of waiting for a status."""

    is_reached: bool
    status: ServerStatus | SitesStatus | None = None
    """The last one that was seen; None if there was none."""
    problem: Problem | None = None
    """Why the wait ended without it."""


def is_stopped(status: ServerStatus) -> bool:
    """Whether no job runs at the server."""
    return status.engine_status == "stopped"


def have_no_jobs(status: SitesStatus) -> bool:
    """Whether every site answers, and none has a job."""
    return all(row.status == "No Jobs" for row in status.clients)


class Session:
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

    def __init__(self, kit: str | Path, *, timeout: float = 30.0, thread: LoopThread | None = None, timers: Timers | None = None) -> None:
        keep_quiet()
        self.folder = Path(kit).expanduser().absolute()
        self.kit, self.notes = read_kit(self.folder, AdminKit)
        self._timeout = timeout
        self._is_closed = False
        self._has_own_thread = thread is None
        self._thread = thread or LoopThread()
        self._connection = AdminConnection(self.kit, away_seconds=timeout, timers=timers)
        self._thread.call(self._connection.start())
        self._exchange = Exchange(self._connection)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "up" if self._connection.link.is_up else "down"
        return f"<Session of {self.kit.name} at {', '.join(self.kit.endpoints)}: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    @property
    def connection(self) -> AdminConnection:
        """What carries the commands: whether it is up, and the token of this session."""
        return self._connection

    def close(self) -> None:
        """Say goodbye to the server; commands that still wait raise SessionClosed. Twice is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        self._thread.call(self._connection.close())
        if self._has_own_thread:
            self._thread.close()

    def call(self, command: Command[Asked, Said], request: Asked, *, timeout: float | None = USUAL) -> Said:
        """Give any command, a plugin's too; the methods below do it for those that are built in.

        Args:
            command: its declaration.
            request: its arguments.
            timeout: seconds; None: as long as the server is there; default: that of the session.
        """
        return self._call(self._connection.ask, command, request, self._timeout if timeout == USUAL else timeout)

    # --- status -------------------------------------------------------------------------------------------------

    @overload
    def check_status(self, target: Literal["server"] = "server", sites: Sequence[str] = ()) -> ServerStatus: ...
    @overload
    def check_status(self, target: Literal["client"], sites: Sequence[str] = ()) -> SitesStatus: ...

    def check_status(self, target: Literal["server", "client"] = "server", sites: Sequence[str] = ()) -> ServerStatus | SitesStatus:
        """How the server is, or how sites are: those named, else all that were ever connected since the server started."""
        return self.call(status.CHECK_STATUS, status.CheckStatus(target=target, sites=list(sites)))

    def wait_until_server_status(self, timeout: float | None = None, callback: Callable[[ServerStatus], bool] = is_stopped) -> Waited:
        """Wait until the callback says True of the server's status; by default, until no job runs.

        Args:
            timeout: seconds; None: as long as it takes.
            callback: sees the status now, and each one after something has moved.

        Returns:
            What was reached; a timeout, or a lost server, is told in it and raises nothing.
        """
        return self._wait(status.CheckStatus(target="server"), callback, timeout)

    def wait_until_client_status(
        self, timeout: float | None = None, callback: Callable[[SitesStatus], bool] = have_no_jobs, sites: Sequence[str] = ()
    ) -> Waited:
        """The same for the status of sites; by default, until all answer and none has a job."""
        return self._wait(status.CheckStatus(target="client", sites=list(sites)), callback, timeout)

    def list_sessions(self) -> SessionList:
        """Which admins are connected to the server, this session among them, the oldest first."""
        return self.call(status.LIST_SESSIONS, status.ListSessions())

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
        request = jobs.CloneJob(job_id=job_id, request=request_id or secrets.token_hex(8))
        return self.call(jobs.CLONE_JOB, request, timeout=None)

    def delete_job(self, job_id: str) -> DeletedJob:
        """Remove a job that has ended, and its result, from the server. What sites keep of it stays there.

        Raises:
            RemoteError: SD-6002 if it has not ended; SD-4032 if there is no such job.
        """
        return self.call(jobs.DELETE_JOB, jobs.DeleteJob(job_id=job_id))

    def list_jobs(self, name_prefix: str = "", id_prefix: str = "", *, detailed: bool = False) -> JobList:
        """The jobs whose name and id begin so, the newest first."""
        return self.call(jobs.LIST_JOBS, jobs.ListJobs(name_prefix=name_prefix, id_prefix=id_prefix, detailed=detailed))

    def job_report(self, job_id: str) -> JobReport:
        """What came out of a job, or how far it is. Here and below the beginning of an id will do."""
        return self.call(jobs.GET_JOB_REPORT, jobs.GetJobReport(job_id=job_id))

    get_job_report = job_report

    def abort_job(self, job_id: str) -> AbortedJob:
        """End a job; returns when it has ended. Aborting it twice is fine.

        Raises:
            RemoteError: SD-6006 if it came to another end before.
        """
        return self.call(jobs.ABORT_JOB, jobs.AbortJob(job_id=job_id))

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
                news = self.call(jobs.MONITOR_JOB, _news_of(job_id, report), timeout=deadline.left)
                report = news if report is None else msgspec.structs.replace(news, rounds=[*report.rounds, *news.rounds])
            except (NotSent, OutcomeUnknown) as exc:
                if deadline.is_over:
                    state = f"is {report.status}" if report is not None else "could not be seen"
                    raise NotFinished(f"after {timeout:g} s it {state}", where=job_id) from exc
                if report is None or isinstance(exc, NotAdmitted):
                    raise
                continue  # the server is away; it will know the job when it is back
            yield report

    # --- files --------------------------------------------------------------------------------------------------
    # `target` is "server" or the name of a site. Its workspace is the root, without startup/ and state/; paths are
    # relative to it. The target decides itself whether it answers. Each method may raise RemoteError with SD-5002 (the
    # path leads out, over a link, or to a secret), SD-6003 (the site does not answer), SD-6007 (the target does not
    # allow it) or SD-6008 (there is no such file).

    def pwd(self, target: str) -> WorkingFolder:
        """Where the workspace of a participant lies, at its machine."""
        return self.call(files.PWD, Pwd(target=target))

    def ls(self, target: str, path: str = "", *, hidden: bool = False, detailed: bool = False, recursive: bool = False) -> FileList:
        """The names in a folder, at most 5000.

        Args:
            target: whose folder.
            path: which; default: the workspace.
            hidden: also names that begin with a dot.
            detailed: with size in bytes, mode and time of the last change.
            recursive: also what is in the folders below.
        """
        request = Ls(target=target, path=path, hidden=hidden, detailed=detailed, recursive=recursive)
        return self.call(files.LS, request)

    def cat(self, target: str, file: str, *, numbered: bool = False) -> FileText:
        """A file, up to its first 256 KiB; `numbered`: with a number before each line."""
        return self.call(files.CAT, Cat(target=target, file=file, numbered=numbered))

    def head(self, target: str, file: str, *, lines: int = 10, size: int | None = None) -> FileText:
        """The first lines of a file; or, with `size`, its first bytes."""
        return self.call(files.HEAD, Head(target=target, file=file, lines=lines, size=size))

    def tail(self, target: str, file: str, *, lines: int = 10, size: int | None = None) -> FileText:
        """The last lines of a file; or, with `size`, its last bytes."""
        return self.call(files.TAIL, Tail(target=target, file=file, lines=lines, size=size))

    def grep(self, target: str, pattern: str, file: str, *, ignore_case: bool = False, numbered: bool = False) -> FileText:
        """The lines of a file that hold a plain text, in its first 64 MiB.

        Args:
            target: whose file.
            pattern: the text, at most 1000 characters; no expression.
            file: which.
            ignore_case: capitals do not matter.
            numbered: with `<number>:` before each line.
        """
        request = Grep(target=target, pattern=pattern, file=file, ignore_case=ignore_case, numbered=numbered)
        return self.call(files.GREP, request)

    def logs(self, job_id: str, site: str = "", *, follow: bool = False) -> Iterator[str]:
        """The log of a run, in pieces of at most 256 KiB as they come, which may end within a line.

        Args:
            job_id: the job; the beginning of its id will do.
            site: at which site; "" or "server": at the server.
            follow: go on until the run is over, also while the server is away; else end where the log ends now.

        Raises:
            RemoteError: SD-6009 if the site has no part in the job.
        """
        offset, size = 0, None
        while True:
            try:
                request = ReadLog(job_id=job_id, site=site, offset=offset, follow=follow)
                piece = self.call(logs.LOGS, request, timeout=None if follow else self._timeout)
            except (NotSent, OutcomeUnknown) as exc:
                if not follow or size is None or isinstance(exc, NotAdmitted):
                    raise
                continue  # the server is away, and goes on with the log when it is back
            job_id, offset, size = piece.job_id, piece.offset, piece.size_bytes if size is None else size
            if piece.text:
                yield piece.text
            if piece.is_end or (not follow and (offset >= size or not piece.text)):
                return

    # --- pieces -------------------------------------------------------------------------------------------------

    def _wait(self, request: status.CheckStatus, holds: Callable[[Status], bool], timeout: float | None) -> Waited:
        deadline = Deadline(timeout)
        seen: Status | None = None
        while True:
            after = seen.revision if seen is not None else None
            try:
                said = self.call(status.CHECK_STATUS, msgspec.structs.replace(request, after=after), timeout=deadline.left)
            except SundogError as exc:
                if deadline.is_over:
                    return Waited(is_reached=False, status=seen, problem=Problem.of(NotReached(f"not within {timeout:g} s")))
                if timeout is None or isinstance(exc, NotAdmitted) or not isinstance(exc, (NotSent, OutcomeUnknown)):
                    return Waited(is_reached=False, status=seen, problem=Problem.of(exc))
                continue  # the server is away, and there is time
            seen = cast("Status", said)  # by what the request wants
            if holds(seen):
                return Waited(is_reached=True, status=seen)

    def _call(self, act: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._open():
            return self._thread.call(act(*args, **kwargs))

    @contextmanager
    def _open(self) -> Iterator[None]:
        if self._is_closed:
            raise SessionClosed("the session is closed")
        try:
            yield
        except CancelledError:
            raise SessionClosed("the session was closed before the answer came") from None


class Deadline:
    """A moment some seconds from now, or never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds until then, 0 if it has passed; None: never."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return self.left == 0.0


def _news_of(job_id: str, report: JobReport | None) -> jobs.MonitorJob:
    if report is None:
        return jobs.MonitorJob(job_id=job_id)
    return jobs.MonitorJob(job_id=report.job_id, seen=Seen(report.status, len(report.rounds), report.waits_for))
