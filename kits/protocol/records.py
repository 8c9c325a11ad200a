"""What is written down: the records of a run's journal and of the project's.

Each record carries the hash of the one before (see kits/workspace/journal.py for the file). Like messages they are
msgpack arrays that only grow at the end; a tag is never used again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from ...kernel.errors import Failure
from ...kernel.messages import Message, Payload, ScatterEnd, StepMetrics


class Status(StrEnum):
    """The states of a job (DESIGN §7)."""

    SUBMITTED = "SUBMITTED"
    DISPATCHED = "DISPATCHED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED:STORAGE"
    COMPLETED = "FINISHED:COMPLETED"
    DEGRADED = "FINISHED:DEGRADED"
    ABORTED = "FINISHED:ABORTED"
    EXECUTION_EXCEPTION = "FINISHED:EXECUTION_EXCEPTION"
    CANNOT_SCHEDULE = "FINISHED:CANNOT_SCHEDULE"

    @property
    def is_end(self) -> bool:
        """Whether nothing comes after it."""
        return self.startswith("FINISHED:")


LEGAL_NEXT: dict[Status, frozenset[Status]] = {
    Status.SUBMITTED: frozenset({Status.DISPATCHED, Status.ABORTED, Status.CANNOT_SCHEDULE, Status.EXECUTION_EXCEPTION}),
    Status.DISPATCHED: frozenset({Status.SUBMITTED, Status.RUNNING, Status.ABORTED, Status.CANNOT_SCHEDULE, Status.EXECUTION_EXCEPTION}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.COMPLETED, Status.DEGRADED, Status.ABORTED, Status.EXECUTION_EXCEPTION}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.ABORTED, Status.EXECUTION_EXCEPTION}),
}
"""State → the states that may follow; end states have none."""


class Record(Message):
    """One record. `previous` is the first 16 hex digits of the sha256 of the encoded record before it."""


class RunStarted(Record, tag=1):
    """The run begins in this file."""

    previous: str
    run: str
    term: int
    sites: list[str]
    seed: int
    time_seconds: float


class OpenTask(Message, tag=2):
    """One task of a StepOpened."""

    task_id: str
    site: str
    name: str
    carried: int
    """What it carries: the place in the record's list."""
    seed: int
    deadline_seconds: float | None
    nth: int = 1
    """It is the n-th of this name for the site in the step."""


class Carried(Message, tag=11):
    """What tasks of a StepOpened carry."""

    payload: Payload
    meta: bytes
    """What stands in front of the payload's blob: the model's meta and the shared values."""


class StepOpened(Record, tag=3):
    """Tasks were issued in a step; a step that issues more has several."""

    previous: str
    workflow: str
    step: int
    policy: str
    tasks: list[OpenTask]
    carried: list[Carried]
    """Mostly one for all sites."""
    time_seconds: float


class ScatterEnded(Record, tag=9):
    """One of several scatters of a step has ended: after a death exactly these results end it again."""

    previous: str
    workflow: str
    step: int
    end: ScatterEnd


class StepReopened(Record, tag=4):
    """The open step is to run again with a higher attempt."""

    previous: str
    workflow: str
    step: int
    attempt: int


class ResultReceived(Record, tag=5):
    """A result is durable in the spool; or the site said why there is none."""

    previous: str
    task_id: str
    site: str
    payload: Payload | None
    meta: bytes
    failure: Failure | None
    time_seconds: float


class ResultRejected(Record, tag=6):
    """The job refused a result."""

    previous: str
    task_id: str
    site: str
    reason: str


class StepClosed(Record, tag=7):
    """A step exists: its state, and the verdict of every task."""

    previous: str
    workflow: str
    step: int
    payloads: list[Payload]
    metas: list[bytes]
    has_state: bool
    verdicts: list[tuple[str, str, str]]
    """(task id, used | late | rejected | missing | open | dropped, reason): all tasks of the step and of steps before it that were not
    closed, and those left open that are over now."""
    metrics: StepMetrics
    time_seconds: float
    notes: list[str] = []
    """Notes of components, except those of earlier steps."""
    files: list[tuple[str, Payload | None]] = []
    """Files of the run's folder that are new or other since the last closed step of the run; None: gone."""
    is_last: bool = False
    """Whether it is the workflow's last step."""


class WorkflowEnded(Record, tag=10):
    """A workflow has ended: it is not run again after a death. What it left open is over."""

    previous: str
    workflow: str
    payloads: list[Payload]
    """The components' states, if any has one."""
    metas: list[bytes]
    verdicts: list[tuple[str, str, str]]
    """As in StepClosed, of all its tasks that were not over."""
    metrics: StepMetrics
    """Of the step that it left without a commit."""
    time_seconds: float
    notes: list[str] = []
    files: list[tuple[str, Payload | None]] = []


class RunFinished(Record, tag=8):
    """The end of the run."""

    previous: str
    status: str
    failure: Failure | None
    reason: str
    time_seconds: float


class JobChanged(Record, tag=20):
    """In the project's journal: a job has a new state; its meta as it is now."""

    previous: str
    job: str
    status: str
    time_seconds: float
    meta: dict[str, Any]


class JobDeleted(Record, tag=21):
    """In the project's journal: a job and all that it left are gone."""

    previous: str
    job: str
    time_seconds: float
    admin: str
    """Who wanted it."""


AnyRecord = (
    RunStarted | StepOpened | ScatterEnded | StepReopened | ResultReceived | ResultRejected | StepClosed | WorkflowEnded | RunFinished
    | JobChanged | JobDeleted
)  # fmt: skip

encode_record = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(AnyRecord).decode
