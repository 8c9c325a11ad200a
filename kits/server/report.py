"""What came out of a run: the job report, as `get_job_report` gives it (DESIGN §8)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ...kernel.errors import Failure
from ..protocol.answers import JobReport, Problem, RoundReport
from ..protocol.records import StepClosed
from ..workspace.disk import Disk
from ..workspace.job_state import Job
from .run_state import RunState, TaskState


def round_report(record: StepClosed, tasks: tuple[TaskState, ...], opened: float) -> RoundReport:
    """One closed step. A site that was asked several times in it counts as used if any of its results was."""
    by_verdict: dict[str, set[str]] = {"used": set(), "late": set(), "missing": set(), "rejected": set()}
    reasons = {}
    for task in tasks:
        by_verdict[task.verdict].add(task.open.site)
        if task.verdict == "rejected":
            reasons[task.open.site] = task.reason
    return RoundReport(
        record.workflow, record.step, round(record.time_seconds - opened, 6), sorted({task.open.site for task in tasks}),
        sorted(by_verdict["used"]), sorted(by_verdict["late"]), sorted(by_verdict["missing"]), reasons,
        record.metrics.sites, record.metrics.own,
    )  # fmt: skip


def tell_closed(run: RunState, told: list[RoundReport]) -> None:
    """Add the closed steps that are not told yet. A closed step changes no more, so each is told once, however many there are."""
    for record, tasks in run.closed_steps[len(told) :]:
        opened = run.opened_at.get((record.workflow, record.step), record.time_seconds)
        told.append(round_report(record, tasks, opened))


def job_report(job: Job, run: RunState | None, now: float, rounds: list[RoundReport], faults: list[Failure] | None = None) -> JobReport:
    """The report of a job as it is now, with what was told of its closed steps; `run` is None before it started."""
    metrics = {name: value for told in rounds for name, value in told.own_metrics.items()}
    model = run.final_state() if run is not None else None
    return JobReport(
        job.id, job.name, str(job.status), job.reason,
        round(job.duration_seconds(now), 6), list(run.sites) if run is not None else [], metrics,
        model.sha256 if model else "", "models/model.safetensors" if model else "", list(rounds),
        failure_of(job), [Problem.of(fault) for fault in faults or []], job.waits_for,
    )  # fmt: skip


def failure_of(job: Job) -> Problem | None:
    """The first cause of a job's failure, if it has failed."""
    kept = job.extra.get("failure")
    return Problem.of(msgspec.convert(kept, Failure)) if kept is not None else None


def write_report(disk: Disk, path: Path, job: Job, run: RunState, faults: list[Failure]) -> None:
    """Keep the report of a run that has ended; `job` does not have its end state yet."""
    ended = run.outcome
    if ended is None:
        raise ValueError(f"the run {job.id} has not ended")
    rounds: list[RoundReport] = []
    tell_closed(run, rounds)
    report = job_report(job, run, ended.time_seconds, rounds, faults)
    failure = Problem.of(ended.failure) if ended.failure is not None else None
    report = msgspec.structs.replace(report, status=ended.status, reason=ended.reason, failure=failure)
    disk.atomic_write(path, msgspec.json.format(msgspec.json.encode(report), indent=1))


def read_report(path: Path) -> JobReport:
    """The report that was kept."""
    return msgspec.json.decode(path.read_bytes(), type=JobReport)
