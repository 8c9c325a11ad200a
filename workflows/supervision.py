"""What does a run ask of the process above it, which keeps its steps?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..kernel.messages import StepMetrics
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


@dataclass(frozen=True)
class StepResult:
    """What a commit hands to the supervisor."""

    workflow: str
    step: int
    state: Shareable | None
    parts: Shareable | None
    """The components' states as one COLLECTION."""
    used: tuple[str, ...]
    late: tuple[str, ...]
    metrics: StepMetrics


class Supervisor(Protocol):
    """What a run asks of the process above it."""

    def open_step(self, request: StepRequest) -> None:
        """Record the tasks and send them; results come to `JobRun.on_result`."""

    def reject(self, task_id: str, reason: str) -> None:
        """Record that a result was refused."""

    def commit(self, result: StepResult) -> Shareable | None:
        """Record the step; returns when it exists, with the state as it is now kept."""

    def seed(self, seed: int) -> None:
        """Begin the sequences of the process's global random generators anew."""

    def pump(self, timeout_seconds: float | None) -> None:
        """Handle what arrives, at least one thing unless the time is up first."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
