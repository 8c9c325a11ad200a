"""What came out of a run: the job report, as `get_job_report` gives it (DESIGN §8)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ...kernel.errors import Failure, JobError
from ..commands.jobs import failure_of
from ..protocol.answers import JobReport, Problem
from ..workspace.disk import Disk
from ..workspace.job_state import Job
from ..workspace.posix import read_plain
from .run_state import RunState

MAX_REPORT_BYTES = 64 * 1024 * 1024


class ReportUnreadable(JobError):
    """The kept report of a run cannot be read; what the server's journal says of the job holds.

    Cause: job code, or another program with the server's rights, replaced report.json in the run's folder.

    Cure: read the job's code for what it writes into the run's folder, and run the job again.
    """

    code = "SD-4070"


def job_report(job: Job, run: RunState | None, now: float, faults: list[Failure] | None = None) -> JobReport:
    """The report of a job as it is now; `run` is None before it started."""
    rounds = run.rounds if run is not None else []
    model = run.final_state if run is not None else None
    return JobReport(
        job.id, job.name, str(job.status), job.reason,
        round(job.duration_seconds(now), 6), list(run.sites) if run is not None else [], dict(run.metrics) if run is not None else {},
        model.sha256 if model else "", "models/model.safetensors" if model else "", list(rounds),
        failure_of(job), [Problem.of(fault) for fault in faults or []], job.waits_for,
    )  # fmt: skip


def write_report(disk: Disk, path: Path, job: Job, run: RunState, faults: list[Failure]) -> None:
    """Keep the report of a run that has ended; `job` does not have its end state yet."""
    ended = run.outcome
    if ended is None:
        raise ValueError(f"the run {job.id} has not ended")
    report = job_report(job, run, ended.time_seconds, faults)
    failure = Problem.of(ended.failure) if ended.failure is not None else None
    report = msgspec.structs.replace(report, status=ended.status, reason=ended.reason, failure=failure)
    disk.atomic_write(path, msgspec.json.format(msgspec.json.encode(report), indent=1))


def read_report(path: Path) -> JobReport | None:
    """The report that was kept; None if there is none. It cannot block: job code may have put anything in its place.

    Raises:
        ReportUnreadable: it is no plain file, too large, or no report.
    """
    try:
        return msgspec.json.decode(read_plain(path, MAX_REPORT_BYTES), type=JobReport)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, msgspec.DecodeError) as exc:  # ValueError: text that is not UTF-8
        raise ReportUnreadable(str(exc), where="report.json") from exc
