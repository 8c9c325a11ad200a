"""The commands about jobs: submit, list, report, watch, abort, delete, clone, download."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Annotated, Any, Protocol

import msgspec

from ...kernel.errors import AdminError, Failure
from ...kernel.wording import printable
from ..protocol.answers import Files, JobReport, Problem, RoundReport
from ..protocol.records import Status
from ..protocol.requests import OwnId, Parameter, Request
from ..workspace.job_state import Job, NoSuchJob
from .declaration import AtServer, Command
from .progress import Progress, ending
from .progress import numbers as spaced_numbers
from .text import Piece, Table, listed, moment, numbers, trouble, with_reason

JobId = Annotated[str, Parameter("The id of a job, or how it begins.", metavar="JOB_ID", completes="jobs")]
RequestId = Annotated[
    str, Parameter("Repeat a submission safely: the same ID never creates a second job.", "--request-id", "ID")
]  # fmt: skip


class StillRunning(AdminError):
    """A job has not ended, so its result cannot be fetched, nor the job be deleted.

    Cause: the job is waiting or running.

    Cure: wait for its end (`Session.monitor_job`), or bring it about with `abort_job`.
    """

    code = "SD-6002"


class AlreadyEnded(AdminError):
    """A job that was to be aborted has come to another end.

    Cause: it ended before the command arrived.

    Cure: nothing to mend; `get_job_report` tells what came out.
    """

    code = "SD-6006"


class Client(Protocol):
    """What the admin's side of these commands uses of a Session."""

    def submit_job(self, folder: str, *, request_id: str | None = None) -> str: ...
    def clone_job(self, job_id: str, *, request_id: str | None = None) -> ClonedJob: ...
    def download_job(self, job_id: str, destination: str | None = None) -> DownloadedJob: ...
    def monitor_job(self, job_id: str) -> JobReport: ...
    def reports(self, job_id: str) -> Iterator[JobReport]: ...


# --- submit, clone --------------------------------------------------------------------------------------------------


class SubmitLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is typed to submit a job."""

    folder: Annotated[str, Parameter("The folder of a job.", completes="job_folders")]
    request_id: RequestId = ""


class SubmitJob(Request, frozen=True, kw_only=True):
    """Take a job in. The server fetches its files from the asker, who offers them until the answer is there."""

    request: OwnId
    """The same again is the same job."""
    name: str
    """What the folder is called."""
    files: Files


class SubmittedJob(msgspec.Struct, frozen=True):
    """`submit_job`."""

    job_id: str


async def _submit(here: AtServer, asked: SubmitJob) -> SubmittedJob:
    return SubmittedJob((await here.transfers.submit(here.link, asked.request, asked.name, asked.files)).id)


def _submit_line(session: Client, line: SubmitLine) -> SubmittedJob:
    return SubmittedJob(session.submit_job(line.folder, request_id=line.request_id or None))


SUBMIT_JOB = Command(
    name="submit_job", right="submit", request=SubmitJob, answers=(SubmittedJob,), server=_submit,
    group="jobs", summary="Submit a job.",
    details="FOLDER is relative to the kit's upload_dir, or absolute. One without meta.json is an app, which goes to everybody.",
    line=SubmitLine, client=_submit_line, show=lambda answer: [f"Submitted job: {answer.job_id}"],
)  # fmt: skip


class CloneLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is typed to clone a job."""

    job_id: JobId
    request_id: RequestId = ""


class CloneJob(Request, frozen=True, kw_only=True):
    """Submit a job that is there once more."""

    job_id: str
    request: OwnId
    """The same again is the same clone."""


class ClonedJob(msgspec.Struct, frozen=True):
    """`clone_job`."""

    job_id: str
    cloned_from: str


async def _clone(here: AtServer, asked: CloneJob) -> ClonedJob:
    source = here.jobs.table.find(asked.job_id)
    return ClonedJob((await here.transfers.clone(here.link, source, asked.request)).id, source.id)


def _clone_line(session: Client, line: CloneLine) -> ClonedJob:
    return session.clone_job(line.job_id, request_id=line.request_id or None)


CLONE_JOB = Command(
    name="clone_job", right="submit", request=CloneJob, answers=(ClonedJob,), server=_clone,
    group="jobs", summary="Submit a job of the server's once more, as it was submitted.",
    line=CloneLine, client=_clone_line,
    show=lambda answer: [f"Cloned job: {answer.cloned_from}", f"Submitted job: {answer.job_id}"],
)  # fmt: skip


# --- list -----------------------------------------------------------------------------------------------------------


class ListJobs(Request, frozen=True, kw_only=True):
    """The jobs, the newest first."""

    name_prefix: Annotated[str, Parameter("Only those whose name begins so.", "-n", "NAME_PREFIX")] = ""
    detailed: Annotated[bool, Parameter("Everything that is known of each, as JSON.", "-d")] = False
    id_prefix: Annotated[str, Parameter("How ids begin.", completes="jobs")] = ""


class JobChange(msgspec.Struct, frozen=True):
    """A state that a job came to."""

    status: str
    time_seconds: float
    reason: str


class JobDetail(msgspec.Struct, frozen=True):
    """What `list_jobs -d` tells besides."""

    meta: dict[str, Any]
    """meta.json, as it was submitted."""
    content_sha256: str
    """The hash of the job's manifest."""
    history: list[JobChange]
    submitter: str
    sites: list[str]
    """Those it was sent to; empty while it waits."""
    failure: Problem | None = None
    """The first cause, when the job failed."""


class JobRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job in a list."""

    job_id: str
    name: str
    status: str
    submit_time: float
    duration_seconds: float
    """How long it has run."""
    reason: str
    """What it waits for, or why it ended as it did."""
    detail: JobDetail | None = None
    """Only if asked for."""


class JobList(msgspec.Struct, frozen=True):
    """`list_jobs`: the newest first."""

    jobs: list[JobRow]


async def _list(here: AtServer, asked: ListJobs) -> JobList:
    jobs = here.jobs.table.listing(asked.name_prefix, asked.id_prefix)
    return JobList([_row(job, here.now(), _detail(job) if asked.detailed else None) for job in jobs])


def _row(job: Job, now: float, detail: JobDetail | None) -> JobRow:
    duration = round(job.duration_seconds(now), 3)
    return JobRow(job.id, job.name, str(job.status), job.submitted_seconds, duration, job.reason or job.waits_for, detail)


def _detail(job: Job) -> JobDetail:
    history = [JobChange(str(change.status), change.time_seconds, change.reason) for change in job.history]
    submitter, sites = str(job.extra.get("submitter", "")), list(job.extra.get("sites", []))
    return JobDetail(dict(job.meta), job.content, history, submitter, sites, failure_of(job))


def failure_of(job: Job) -> Problem | None:
    """The first cause of a job's failure, if it has failed."""
    kept = job.extra.get("failure")
    return Problem.of(msgspec.convert(kept, Failure)) if kept is not None else None


def _list_text(answer: JobList) -> Iterator[Piece]:
    """A row a job; with details, one JSON document a job."""
    if not answer.jobs:
        yield "No jobs."
    elif answer.jobs[0].detail is not None:
        documents = (json.dumps(msgspec.to_builtins(row), indent=2, ensure_ascii=False) for row in answer.jobs)
        yield from (printable(document, keep="\n") for document in documents)
    else:
        yield Table(["JOB ID", "NAME", "STATUS", "SUBMIT TIME", "RUN DURATION", "REASON"], [_job_cells(row) for row in answer.jobs])


def _job_cells(row: JobRow) -> list[str]:
    duration = str(timedelta(seconds=round(row.duration_seconds)))
    return [row.job_id, row.name, row.status, moment(row.submit_time), duration, row.reason.partition("\n")[0]]


LIST_JOBS = Command(
    name="list_jobs", right="view", request=ListJobs, answers=(JobList,), server=_list,
    group="jobs", summary="List jobs, the newest first.", show=_list_text,
)  # fmt: skip


# --- report, watch --------------------------------------------------------------------------------------------------


class GetJobReport(Request, frozen=True, kw_only=True):
    """What came out of a job, or how far it is."""

    job_id: JobId


async def _report(here: AtServer, asked: GetJobReport) -> JobReport:
    return here.jobs.report(here.jobs.table.find(asked.job_id))


def _report_text(answer: JobReport) -> Iterator[Piece]:
    yield printable(f"Job: {answer.job_id} {answer.name}")
    yield f"Status: {with_reason(answer.status, answer.reason or answer.waits_for)}"
    yield f"Seconds: {answer.seconds:.2f}"
    if answer.sites:
        yield f"Sites: {listed(answer.sites)}"
    if answer.metrics:
        yield f"Metrics: {numbers(answer.metrics)}"
    if answer.model_sha256:
        yield printable(f"Model: {answer.model_path} (sha256 {answer.model_sha256})")
    if answer.rounds:
        headings = ["WORKFLOW", "ROUND", "SECONDS", "USED", "LATE", "MISSING", "REJECTED", "METRICS"]
        yield Table(headings, [_round_cells(row) for row in answer.rounds])
        yield from (printable(f"Note: {row.workflow}, round {row.round}: {note}") for row in answer.rounds for note in row.notes)
    for heading, problem in [("Failed", answer.failure), *(("Went wrong besides", fault) for fault in answer.faults)]:
        if problem is not None:
            yield f"{heading}:"
            yield from trouble(problem)


def _round_cells(row: RoundReport) -> list[str]:
    rejected = ", ".join(f"{site} ({why})" for site, why in row.rejected.items())
    metrics = numbers(row.own_metrics) or "; ".join(f"{site}: {numbers(its)}" for site, its in row.metrics.items())
    return [row.workflow, str(row.round), f"{row.seconds:.2f}", listed(row.used), listed(row.late), listed(row.missing), rejected, metrics]


GET_JOB_REPORT = Command(
    name="get_job_report", right="view", request=GetJobReport, answers=(JobReport,), server=_report,
    group="jobs", summary="Show what came out of a job, or how far it is.",
    details="The beginning of an id will do, here and in the other commands.", show=_report_text,
)  # fmt: skip


class Seen(msgspec.Struct, frozen=True):
    """What an asker knows of a job."""

    status: str
    rounds: int
    waits_for: str


class MonitorJob(Request, frozen=True, kw_only=True):
    """The report, once it says more than what the asker has seen, with the new rounds only; at once if it does already."""

    job_id: JobId
    seen: Annotated[Seen | None, Parameter(is_typed=False)] = None


async def _monitor(here: AtServer, asked: MonitorJob) -> JobReport:
    job_id, seen = here.jobs.table.find(asked.job_id).id, asked.seen
    if seen is None:
        return await here.jobs.next_report(job_id, (None,))
    report = await here.jobs.next_report(job_id, (seen.status, seen.rounds, seen.waits_for))
    return msgspec.structs.replace(report, rounds=report.rounds[seen.rounds :])


def _monitored(session: Client, line: MonitorJob) -> Generator[Piece, None, JobReport]:
    """Each change of the job's state, each round, and how it ended."""
    progress = Progress()
    for report in session.reports(line.job_id):
        yield from map(printable, [*progress.state(report), *progress.rounds(report)])
    yield printable(ending(report))
    if report.metrics:
        yield printable(f"  {spaced_numbers(report.metrics)}")
    for problem in [*([report.failure] if report.failure else []), *report.faults]:
        yield from trouble(problem)
    return report


MONITOR_JOB = Command(
    name="monitor_job", right="view", request=MonitorJob, answers=(JobReport,), server=_monitor, only_waits=True,
    group="jobs", summary="Watch a job until it has ended.",
    details="Shows its rounds as they are closed; with --json, the report at its end. The exit status tells how the job ended.",
    client=lambda session, line: session.monitor_job(line.job_id), live=_monitored, show=_report_text,
    exit_status=lambda report: report.exit_status,
)  # fmt: skip


# --- abort, delete --------------------------------------------------------------------------------------------------


class AbortJob(Request, frozen=True, kw_only=True):
    """End a job; the answer comes when it has ended."""

    job_id: JobId


class AbortedJob(msgspec.Struct, frozen=True):
    """`abort_job`."""

    job_id: str
    status: str
    """FINISHED:ABORTED."""


async def _abort(here: AtServer, asked: AbortJob) -> AbortedJob:
    """Raises: AlreadyEnded."""
    job = here.jobs.table.find(asked.job_id)
    await here.abort(job, f"aborted by {here.subject.name}")
    ended = here.jobs.table.find(job.id)
    if ended.status is not Status.ABORTED:
        raise AlreadyEnded(f"the job has ended as {ended.status}", where=job.id)
    return AbortedJob(job.id, str(ended.status))


ABORT_JOB = Command(
    name="abort_job", right="manage", request=AbortJob, answers=(AbortedJob,), server=_abort,
    group="jobs", summary="End a job; the answer comes when it has ended.", show=lambda answer: [f"Aborted job: {answer.job_id}"],
)  # fmt: skip


class DeleteJob(Request, frozen=True, kw_only=True):
    """Remove a job that has ended, and all that it left at the server."""

    job_id: JobId


class DeletedJob(msgspec.Struct, frozen=True):
    """`delete_job`."""

    job_id: str


async def _delete(here: AtServer, asked: DeleteJob) -> DeletedJob:
    """Raises: StillRunning."""
    table = here.jobs.table
    try:
        job = table.find(asked.job_id)
    except NoSuchJob:
        if gone := table.find_deleted(asked.job_id):  # asked twice
            return DeletedJob(gone)
        raise
    _refuse_unless_ended(job)
    await here.jobs.delete(job, here.subject.name)
    return DeletedJob(job.id)


def _refuse_unless_ended(job: Job) -> None:
    if not job.status.is_end:
        raise StillRunning(f"the job is {job.status}", where=job.id)


DELETE_JOB = Command(
    name="delete_job", right="manage", request=DeleteJob, answers=(DeletedJob,), server=_delete,
    group="jobs", summary="Remove a job that has ended, and its result, from the server.",
    details="One that has not ended is refused: abort it first. What sites keep of it stays there.",
    show=lambda answer: [f"Deleted job: {answer.job_id}"],
)  # fmt: skip


# --- download -------------------------------------------------------------------------------------------------------


class DownloadLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is typed to download a job."""

    job_id: JobId
    destination: Annotated[str, Parameter("Instead of the kit's download_dir.", "--to", "FOLDER", "folders")] = ""


class DownloadJob(Request, frozen=True, kw_only=True):
    """Offer the files of a job and of its result, until `download_done`."""

    job_id: str
    download: OwnId


class DownloadOffer(msgspec.Struct, frozen=True):
    """What `download_job` may fetch."""

    job_id: str
    job: Files
    """The job as it was submitted."""
    workspace: Files
    """What the run wrote at the server."""


class DownloadedJob(msgspec.Struct, frozen=True):
    """`download_job`: where a job and its result lie now."""

    job_id: str
    folder: str
    """Absolute; has `job/` as it was submitted and `workspace/` as the run left it."""
    files: int
    size_bytes: int


async def _offer(here: AtServer, asked: DownloadJob) -> DownloadOffer:
    """Raises: StillRunning."""
    job = here.jobs.table.find(asked.job_id)
    _refuse_unless_ended(job)
    return DownloadOffer(job.id, *await here.transfers.offer(here.link, job, asked.download))


def _downloaded_text(answer: DownloadedJob) -> Iterator[Piece]:
    yield f"Downloaded to: {printable(answer.folder)} ({answer.files} files, {answer.size_bytes:,} bytes)"


DOWNLOAD_JOB = Command(
    name="download_job", right="view", request=DownloadJob, answers=(DownloadOffer,), server=_offer,
    group="jobs", summary="Fetch a job that has ended, and its result.",
    details="They go to <download_dir>/<id>/job and …/workspace. What broke off goes on where it was.",
    line=DownloadLine, client=lambda session, line: session.download_job(line.job_id, line.destination or None),
    gives=(DownloadedJob,), show=_downloaded_text,
)  # fmt: skip


class DownloadDone(Request, frozen=True, kw_only=True):
    """The files of a download need not be offered any longer."""

    download: OwnId


class Nothing(msgspec.Struct, frozen=True):
    """It is done, and there is nothing to say."""


async def _done(here: AtServer, asked: DownloadDone) -> Nothing:
    here.transfers.done(here.link, asked.download)
    return Nothing()


DOWNLOAD_DONE = Command(name="download_done", right="view", request=DownloadDone, answers=(Nothing,), server=_done)
