"""What does a run ask of the process above it, which keeps its steps?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ..kernel.messages import ScatterEnd, StepMetrics
from ..kernel.shareable import Shareable
from ..kernel.tasks import Task


@dataclass(frozen=True)
class StepRequest:
    """Tasks of one scatter: one per site, each with what the site is to get."""

    workflow: str
    step: int
    task: Task
    ids: tuple[str, ...]
    sites: tuple[str, ...]
    models: tuple[Shareable | None, ...]
    shared: tuple[Mapping[str, Any], ...]
    """What `ctx.shared` holds for each."""
    policy: str
    ended: tuple[ScatterEnd, ...] = ()
    """How those ended that were under way when the tasks before were sent, and are not any more."""
    nth: tuple[int, ...] = ()
    """Per task: it is the n-th of this name that its site is sent in the step."""


class LeftOpen(msgspec.Struct, frozen=True):
    """A task that a closed step left open: its result may be used by a later one."""

    task_id: str
    site: str
    name: str
    step: int
    deadline_seconds: float | None
    how: str
    """"sent", or "late": by a scatter that ended without it."""
    nth: int = 1
    before: ScatterEnd | None = None
    """How it ended in the open step, for a process before this one."""


@dataclass(frozen=True)
class StepResult:
    """What a commit hands to the supervisor."""

    workflow: str
    step: int
    state: Shareable | None
    parts: Shareable | None
    """The components' states as one COLLECTION."""
    used: tuple[str, ...]
    """Ids of the tasks whose results it used: of this step, of steps before it without a commit, or left open by closed ones."""
    still_open: Mapping[str, str]
    """Task id → "sent" or "late", of those whose results a later step may use; all others of the step are over."""
    metrics: StepMetrics
    notes: tuple[str, ...]
    """Texts that components gave to `ctx.note` since the previous commit."""
    unused: tuple[str, ...] = ()
    """Ids of the tasks whose results came to a scatter that failed."""
    is_last: bool = False


@dataclass(frozen=True)
class WorkflowEnd:
    """What the end of a workflow hands to the supervisor."""

    workflow: str
    parts: Shareable | None
    """The components' states as one COLLECTION."""
    used: tuple[str, ...]
    """Ids of the tasks whose results it used behind its last commit."""
    still_open: Mapping[str, str]
    """Task id → "sent" or "late", of those that nobody waits for any more."""
    metrics: StepMetrics
    notes: tuple[str, ...]
    unused: tuple[str, ...] = ()


class Supervisor(Protocol):
    """What a run asks of the process above it."""

    def open_step(self, request: StepRequest) -> ScatterEnd | None:
        """Record the tasks and send them; results come to `JobRun.on_result`.

        Returns:
            How they ended, if a process before this one went on behind their end in this very step: it is to be repeated exactly.
        """

    def reject(self, task_id: str, reason: str) -> None:
        """Record that a result was refused."""

    def end_workflow(self, end: WorkflowEnd) -> None:
        """Record that a workflow has ended: behind whatever is recorded later it is not run again."""

    def commit(self, result: StepResult) -> Shareable | None:
        """Record the step; returns when it exists, with the state as it is now kept."""

    def seed(self, seed: int) -> None:
        """Begin the sequences of the process's global random generators anew."""

    def pump(self, timeout_seconds: float | None) -> None:
        """Handle what arrives, at least one thing unless the time is up first."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
