"""What the server knows of one run: the state that its records add up to.

`apply` takes one record as true: a new one, or one read from the journal at a recovery. What is only true while this
process lives (who is connected, who is lost) stands beside it and is forgotten with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import msgspec

from ...kernel.errors import Failure
from ...kernel.messages import Payload
from ..protocol.records import (
    AnyRecord,
    OpenTask,
    ResultReceived,
    ResultRejected,
    RunFinished,
    RunStarted,
    StepClosed,
    StepOpened,
)


class Phase(Enum):
    """Where a run is, while this process lives."""

    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    """The outcome is known; the job process has still to go."""
    ENDED = "ended"


@dataclass(slots=True)
class TaskState:
    """One task, from its record on; of a closed step no more than its verdict is kept, because there may be millions of them."""

    open: OpenTask
    workflow: str
    step: int
    received: ResultReceived | None = None
    rejected: str = ""
    verdict: str = ""
    reason: str = ""
    receiving: bool = False


@dataclass(frozen=True)
class Committed:
    """The last closed step of a workflow, and what it keeps."""

    step: int
    payloads: tuple[Payload, ...] = ()
    metas: tuple[bytes, ...] = ()
    has_state: bool = False


@dataclass
class RunState:
    """One run as its records tell it, and what is true only while this process lives."""

    run: str
    sites: tuple[str, ...]
    term: int
    phase: Phase = Phase.STARTING
    tasks: dict[str, TaskState] = field(default_factory=dict)
    open_steps: dict[tuple[str, int], list[TaskState]] = field(default_factory=dict)
    """The tasks of steps that are not closed."""
    committed: dict[str, Committed] = field(default_factory=dict)
    closed_steps: list[tuple[StepClosed, tuple[TaskState, ...]]] = field(default_factory=list)
    opened_at: dict[tuple[str, int], float] = field(default_factory=dict)
    excluded: dict[str, Failure] = field(default_factory=dict)
    connected: set[str] = field(default_factory=set)
    gone: dict[str, Failure] = field(default_factory=dict)
    deaths: int = 0
    outcome: RunFinished | None = None
    ended: RunFinished | None = None

    def apply(self, record: AnyRecord) -> None:
        """Take one record as true: a new one, or one read from the journal."""
        self.deaths = 0
        match record:
            case RunStarted():
                self.phase = Phase.RUNNING
            case StepOpened():
                self._apply_opened(record)
            case ResultReceived():
                self.tasks[record.task_id].received = record
            case ResultRejected():
                self.tasks[record.task_id].rejected = record.reason
            case StepClosed():
                self._apply_closed(record)
            case RunFinished():
                self.ended, self.outcome, self.phase = record, record, Phase.ENDED
            case _:
                pass

    def _apply_opened(self, record: StepOpened) -> None:
        step = (record.workflow, record.step)
        self.opened_at.setdefault(step, record.time_seconds)
        fresh = [TaskState(task, *step) for task in record.tasks]
        self.open_steps.setdefault(step, []).extend(fresh)
        self.tasks.update((task.open.task_id, task) for task in fresh)

    def _apply_closed(self, record: StepClosed) -> None:
        tasks = tuple(self.open_steps.pop((record.workflow, record.step), ()))
        for task_id, verdict, reason in record.verdicts:
            task = self.tasks[task_id]
            task.verdict, task.reason, task.received = verdict, reason, None
            task.open = msgspec.structs.replace(task.open, payload=Payload(0), meta=b"")
        kept = Committed(record.step, tuple(record.payloads), tuple(record.metas), record.has_state)
        before = self.committed.get(record.workflow)
        if before and not record.has_state and before.has_state:
            payloads, metas = (before.payloads[0], *record.payloads), (before.metas[0], *record.metas)
            kept = Committed(record.step, payloads, metas, has_state=True)
        self.committed[record.workflow] = kept
        self.closed_steps.append((msgspec.structs.replace(record, metas=[]), tasks))

    def missing_sites(self) -> list[str]:
        """Sites whose result was not used in some closed step."""
        return sorted({t.open.site for _, tasks in self.closed_steps for t in tasks if t.verdict != "used"})

    def final_state(self) -> Payload | None:
        """The state that was committed last: the model of the run."""
        for record, _ in reversed(self.closed_steps):
            if record.has_state:
                return record.payloads[0]
        return None
