"""What came out of a run: the job report, as `get_job_report` gives it (DESIGN §8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ...kernel.errors import Failure
from ...kernel.records import StepClosed
from ..workspace.folders import atomic_write
from ..workspace.job_state import Job
from .run_state import RunState, TaskState


class RoundReport(msgspec.Struct):
    """One closed step."""

    workflow: str
    round: int
    """From 0."""
    seconds: float
    invited: list[str]
    used: list[str]
    late: list[str]
    missing: list[str]
    rejected: dict[str, str]
    """Site → reason."""
    metrics: dict[str, dict[str, float]]
    """Site → name → value."""
    own_metrics: dict[str, float]
    """What the workflow itself reported of the step."""


class JobReport(msgspec.Struct):
    """A job and what came out of it."""

    job_id: str
    name: str
    status: str
    reason: str
    seconds: float
    """From the start of the run to its end, or to now."""
    sites: list[str]
    metrics: dict[str, float]
    """The last numbers of each workflow."""
    model_sha256: str
    """Of the canonical blob of the last committed model; empty when there is none."""
    model_path: str
    """Relative to the run's folder, which is `workspace/` in a download."""
    rounds: list[RoundReport]
    failure: Failure | None = None
    """The first cause, when the job failed."""
    faults: list[Failure] = []
    """Observers and trackers that raised; the job went on."""
    waits_for: str = ""
    """Why the job has not started, while it waits."""


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


def job_report(job: Job, run: RunState | None, now: float, faults: list[Failure] | None = None) -> JobReport:
    """The report of a job as it is now; `run` is None before it started."""
    rounds, metrics, model = [], {}, None
    for record, tasks in run.closed_steps if run is not None else ():
        opened = run.opened_at.get((record.workflow, record.step), record.time_seconds) if run is not None else 0.0
        rounds.append(round_report(record, tasks, opened))
        metrics.update(record.metrics.own)
    ended = run.outcome if run is not None else None
    model = run.final_state() if run is not None else None
    return JobReport(
        job.id, job.name, str(ended.status if ended else job.status), ended.reason if ended else job.reason,
        round(job.duration_seconds(now), 6), list(run.sites) if run is not None else [], metrics,
        model.sha256 if model else "", "models/model.safetensors" if model else "", rounds,
        ended.failure if ended else None, faults or [], job.waits_for,
    )  # fmt: skip


def write_report(path: Path, job: Job, run: RunState, faults: list[Failure]) -> None:
    """Keep the report of a run that has ended."""
    ended = run.outcome.time_seconds if run.outcome is not None else 0.0
    atomic_write(path, msgspec.json.format(msgspec.json.encode(job_report(job, run, ended, faults)), indent=1))


def read_report(path: Path) -> JobReport:
    """The report that was kept."""
    return msgspec.json.decode(path.read_bytes(), type=JobReport)


def as_document(report: JobReport) -> dict[str, Any]:
    """The report as JSON-like data."""
    return dict(msgspec.to_builtins(report))
