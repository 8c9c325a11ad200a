"""The state of one run at the server: what its records add up to.

`apply` takes one record as true: a new one, or one read from the journal at a recovery. What is only true while this
process lives (who is connected, who is lost) stands beside it and is forgotten with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from ...kernel.errors import Failure
from ...kernel.messages import Payload, ScatterEnd, StepMetrics
from ..protocol.answers import RoundReport
from ..protocol.records import (
    AnyRecord,
    Carried,
    OpenTask,
    ResultReceived,
    ResultRejected,
    RunFinished,
    RunStarted,
    ScatterEnded,
    StepClosed,
    StepOpened,
    WorkflowEnded,
)

OPEN = "open"
"""The verdict of a task that outlives its step; another one follows with a later step, or with the end of its workflow."""
_WITHOUT = ("late", "missing", "rejected")
"""Verdicts that leave a step without its site."""


class Phase(Enum):
    """Where a run is, while this process lives."""

    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    """The outcome is known; the job process has still to go."""
    ENDED = "ended"


@dataclass(slots=True)
class TaskState:
    """One task, from its record to its last verdict."""

    open: OpenTask
    carried: Carried
    workflow: str
    step: int
    received: ResultReceived | None = None
    number: int = 0
    """The place of its result among all results of the run, from 1."""
    rejected: str = ""
    left_open: str = ""
    """Set when its step is closed and it is not over: "sent", or "late"."""
    receiving: bool = False


class ClosedTasks:
    """The verdicts of tasks that are over: 8 bytes each, since there may be millions, of which a few are asked for again.

    Sorted arrays of numbers whose low bits are the verdict; an array is merged with the one before it when it has become as long.
    The newest verdicts are not sorted in yet.
    """

    _VERDICTS = ("used", "late", "rejected", "missing", "dropped")
    _BITS = np.uint64(3)
    _MAX_NEW = 1024

    def __init__(self) -> None:
        self._new: dict[str, str] = {}
        self._sorted: list[npt.NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return len(self._new) + sum(map(len, self._sorted))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClosedTasks) and self._all().tolist() == other._all().tolist()

    __hash__ = None  # type: ignore[assignment]  # equal by content

    def add(self, verdicts: Mapping[str, str]) -> None:
        """Remember these: task id → verdict."""
        self._new.update(verdicts)
        if len(self._new) <= self._MAX_NEW:
            return
        fresh, self._new = self._numbers(self._new), {}
        while self._sorted and len(self._sorted[-1]) <= len(fresh):
            fresh = np.concatenate([self._sorted.pop(), fresh])
        self._sorted.append(np.sort(fresh))

    def find(self, task_id: str) -> str:
        """Its verdict; empty if there never was such a task, or it is not over."""
        if task_id in self._new:
            return self._new[task_id]
        key = self._key(task_id)
        for numbers in self._sorted:
            place = int(np.searchsorted(numbers, key))
            if place < len(numbers) and numbers[place] >> self._BITS == key >> self._BITS:
                return self._VERDICTS[int(numbers[place] - key)]
        return ""

    def _all(self) -> npt.NDArray[np.uint64]:
        return np.sort(np.concatenate([self._numbers(self._new), *self._sorted]))

    def _numbers(self, verdicts: Mapping[str, str]) -> npt.NDArray[np.uint64]:
        codes = {verdict: np.uint64(code) for code, verdict in enumerate(self._VERDICTS)}
        return np.array([self._key(task_id) | codes[verdict] for task_id, verdict in verdicts.items()], np.uint64)

    def _key(self, task_id: str) -> np.uint64:
        digest = hashlib.blake2b(task_id.encode(), digest_size=8).digest()
        return np.uint64(int.from_bytes(digest, "big")) >> self._BITS << self._BITS


@dataclass(frozen=True)
class Kept:
    """A Shareable that a record keeps: its blob and its encoded meta."""

    payload: Payload
    meta: bytes


@dataclass(frozen=True)
class Committed:
    """The last closed step of a workflow, and the state that the workflow goes on from."""

    step: int
    state: Kept | None = None
    is_last: bool = False


@dataclass
class RunState:
    """One run as its records tell it, and what is true only while this process lives."""

    run: str
    sites: tuple[str, ...]
    term: int
    phase: Phase = Phase.STARTING
    tasks: dict[str, TaskState] = field(default_factory=dict)
    """Tasks that are not over, by id: those of open steps, and those that closed ones left open."""
    open_steps: dict[tuple[str, int], list[TaskState]] = field(default_factory=dict)
    """The tasks of steps that are not closed."""
    ended_scatters: dict[str, ScatterEnd] = field(default_factory=dict)
    """First task id → how a scatter of an open step ended."""
    results: int = 0
    """How many results have been received."""
    closed_tasks: ClosedTasks = field(default_factory=ClosedTasks)
    committed: dict[str, Committed] = field(default_factory=dict)
    parts: Kept | None = None
    """The components' states, as the newest record that saved them has them."""
    ended_workflows: list[str] = field(default_factory=list)
    rounds: list[RoundReport] = field(default_factory=list)
    """The steps that are over, as the job report has them."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The newest value of each number that a step has reported as its own."""
    final_state: Payload | None = None
    """The state that was committed last: the model of the run."""
    notes: set[str] = field(default_factory=set)
    """Notes of components in closed steps; each is reported once per run."""
    files: dict[str, Payload] = field(default_factory=dict)
    """Files of the run's folder, as the last closed step has them."""
    left_out: set[str] = field(default_factory=set)
    """Sites whose result was not used in some closed step."""
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
            case ScatterEnded():
                self.ended_scatters[record.end.tasks[0]] = record.end
            case ResultReceived():
                self.results += 1
                task = self.tasks[record.task_id]
                task.received, task.number = record, self.results
            case ResultRejected():
                self.tasks[record.task_id].rejected = record.reason
            case StepClosed():
                self._apply_closed(record)
            case WorkflowEnded():
                self._apply_workflow_ended(record)
            case RunFinished():
                self.ended, self.outcome, self.phase = record, record, Phase.ENDED
            case _:
                pass

    def steps_open(self, workflow: str, last: int | None = None) -> list[tuple[str, int]]:
        """The steps of a workflow that have tasks and are not closed, up to the `last`, in order."""
        return sorted(step for step in self.open_steps if step[0] == workflow and (last is None or step[1] <= last))

    def left_open(self, workflow: str) -> list[TaskState]:
        """The tasks that closed steps of a workflow left open, in the order in which they were sent."""
        return [task for task in self.tasks.values() if task.left_open and task.workflow == workflow]

    def payloads_in_use(self) -> Iterable[Payload]:
        """Blobs that no close of a step lets go: of states, of kept files, of tasks that are not over and of their results."""
        for kept in (self.parts, *(committed.state for committed in self.committed.values())):
            if kept is not None:
                yield kept.payload
        yield from self.files.values()
        for task in self.tasks.values():
            yield task.carried.payload
            if task.received is not None and task.received.payload is not None:
                yield task.received.payload

    def _apply_opened(self, record: StepOpened) -> None:
        step = (record.workflow, record.step)
        self.opened_at.setdefault(step, record.time_seconds)
        fresh = [TaskState(task, record.carried[task.carried], *step) for task in record.tasks]
        self.open_steps.setdefault(step, []).extend(fresh)
        self.tasks.update((task.open.task_id, task) for task in fresh)

    def _apply_closed(self, record: StepClosed) -> None:
        closed = (record.workflow, record.step)
        self._close_steps(record, [*(step for step in self.steps_open(*closed) if step != closed), closed])
        for task_id, verdict, reason in record.verdicts:
            if verdict == OPEN:
                self.tasks[task_id].left_open = reason
        self._apply_state(record)

    def _apply_state(self, record: StepClosed) -> None:
        kept = [Kept(payload, meta) for payload, meta in zip(record.payloads, record.metas, strict=True)]
        state = kept.pop(0) if record.has_state else None
        if state is not None:
            self.final_state = state.payload
        elif record.workflow in self.committed:
            state = self.committed[record.workflow].state
        self.parts = kept[0] if kept else None
        self.committed[record.workflow] = Committed(record.step, state, record.is_last)

    def _apply_workflow_ended(self, record: WorkflowEnded) -> None:
        self.ended_workflows.append(record.workflow)
        self.parts = Kept(record.payloads[0], record.metas[0]) if record.payloads else None
        steps = self.steps_open(record.workflow)
        if not steps and any(verdict in ("used", "rejected") for _, verdict, _ in record.verdicts):  # results of tasks left open
            steps = [(record.workflow, self.committed[record.workflow].step + 1)]
        self._close_steps(record, steps)

    def _close_steps(self, record: StepClosed | WorkflowEnded, steps: list[tuple[str, int]]) -> None:
        """Report and forget steps: the last one of them, and those before it that ended without a commit."""
        judged: dict[tuple[str, int], list[tuple[TaskState, str, str]]] = {step: [] for step in steps}
        for task_id, verdict, reason in record.verdicts:
            task = self.tasks[task_id]
            of_step = judged.get((task.workflow, task.step))
            if of_step is not None:
                of_step.append((task, verdict, reason))
            elif steps and verdict in ("used", "rejected"):  # a closed step had left it open
                judged[steps[-1]].append((task, verdict, reason))
        begun = [self.opened_at.pop(step, record.time_seconds) for step in steps]
        for step, start, end in zip(steps, begun, [*begun[1:], record.time_seconds], strict=False):
            self.rounds.append(round_report(step, end - start, judged[step], record if step == steps[-1] else None))
            for task in self.open_steps.pop(step, ()):
                self.ended_scatters.pop(task.open.task_id, None)
        if steps:  # else there is no round to show them with
            self.metrics.update(record.metrics.own)
            self.notes.update(record.notes)
        self._apply_files(record.files)
        self._close({task_id: verdict for task_id, verdict, _ in record.verdicts if verdict != OPEN})

    def _apply_files(self, files: Iterable[tuple[str, Payload | None]]) -> None:
        for path, payload in files:
            if payload is None:
                self.files.pop(path, None)
            else:
                self.files[path] = payload

    def _close(self, verdicts: Mapping[str, str]) -> None:
        for task_id, verdict in verdicts.items():
            task = self.tasks.pop(task_id)
            self.ended_scatters.pop(task_id, None)
            if verdict in _WITHOUT:
                self.left_out.add(task.open.site)
        self.closed_tasks.add(verdicts)


def round_report(
    step: tuple[str, int], seconds: float, judged: Iterable[tuple[TaskState, str, str]], record: StepClosed | WorkflowEnded | None
) -> RoundReport:
    """One closed step. A site that was asked several times in it counts as used if any of its results was.

    Args:
        record: of the commit or the end of the workflow that closed it; None for a step before that one.
    """
    by_verdict: dict[str, set[str]] = {"used": set(), "late": set(), "missing": set(), "rejected": set(), OPEN: set()}
    reasons = {}
    for task, verdict, reason in judged:
        by_verdict.setdefault(verdict, set()).add(task.open.site)  # dropped: the report has no place for it
        if verdict == "rejected":
            reasons[task.open.site] = reason
    metrics, notes = (record.metrics, record.notes) if record is not None else (StepMetrics({}, {}), [])
    return RoundReport(
        *step, round(seconds, 6), sorted(set().union(*by_verdict.values())), sorted(by_verdict["used"]), sorted(by_verdict["late"]),
        sorted(by_verdict["missing"]), reasons, metrics.sites, metrics.own, sorted(by_verdict[OPEN]), notes,
    )  # fmt: skip
