"""What a federation of real processes takes: one is started, measured idle, and runs small jobs, then a large one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .federation import DEADLINE_SECONDS, Federation, Ran, federation
from .memory import PeakMemory, is_measurable, memory_bytes
from .noop_job import SMALL, Size

MB = 1e6
MEASURED = ("server", "site-1")


@dataclass(frozen=True)
class Plan:
    """What a federation does while it is measured."""

    small_rounds: Sequence[int] = (200,)
    """Rounds of each job with the small model. Before a large model the last of them is the baseline of memory."""
    large: Size | None = None
    large_rounds: int = 6
    deadline_seconds: float = DEADLINE_SECONDS
    """Per job."""


@dataclass
class Processes:
    """What was measured; empty where the system or the plan gives nothing."""

    start_seconds: float
    small: list[Ran]
    large_round_seconds: list[float] = field(default_factory=list)
    idle_mb: dict[str, float] = field(default_factory=dict)
    """Participant → resident memory before its first job."""
    grown_mb: dict[str, float] = field(default_factory=dict)
    """Participant → private memory, its job process included, with the large model beyond that with the small one."""

    @property
    def small_round_seconds(self) -> list[float]:
        """Of the first job."""
        return self.small[0].times.per_round

    @property
    def submit_seconds(self) -> list[float]:
        """From each small job's submission to its first task."""
        return [ran.times.first_task - ran.submitted for ran in self.small]

    @property
    def end_seconds(self) -> list[float]:
        """From each small job's last round to its end state at the admin."""
        return [ran.ended - ran.times.rounds[-1] for ran in self.small]


def measure_processes(sites: int, transport: str, plan: Plan) -> Processes:
    """Start a federation and carry out the plan. Raises: NotMeasured."""
    with federation(sites, transport) as running:
        idle = {name: memory_bytes(running.pid(name), "VmRSS") / MB for name in MEASURED} if is_measurable() else {}
        *first, last = plan.small_rounds
        small = [running.run_noop(SMALL, rounds, plan.deadline_seconds) for rounds in first]
        ran, before = _watched(running, SMALL, last, plan)
        measured = Processes(running.start_seconds, [*small, ran], idle_mb=idle)
        if plan.large is not None:
            ran, after = _watched(running, plan.large, plan.large_rounds, plan)
            measured.large_round_seconds = ran.times.per_round
            measured.grown_mb = {name: after[name] - before[name] for name in before}
        return measured


def _watched(running: Federation, size: Size, rounds: int, plan: Plan) -> tuple[Ran, dict[str, float]]:
    """Run a job; the peak of private memory of each participant, in MB. Nothing is sampled when there is nothing to compare."""
    if plan.large is None or not is_measurable():
        return running.run_noop(size, rounds, plan.deadline_seconds), {}
    pids = {name: running.pid(name) for name in MEASURED}
    with PeakMemory(pids.values()) as peak:
        ran = running.run_noop(size, rounds, plan.deadline_seconds)
    return ran, {name: peak.peak_bytes[pid] / MB for name, pid in pids.items()}
