"""Task and Result: what a site is sent, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .shareable import Shareable

MAX_NAME_CHARACTERS = 256
"""Of a task, a workflow or a site."""


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work for sites: a name, a model, values that travel along.

    At a site `id`, `workflow`, `step` and `site` are filled in, and `model` is mapped copy-on-write.

    Raises:
        TypeError: the model is something else than a Shareable.
        ValueError: the name is empty or longer than 256 characters, or the deadline is not a number of seconds above 0.
    """

    name: str
    model: Shareable | None = None
    shared: Mapping[str, Any] = field(default_factory=dict)
    deadline_seconds: float | None = None
    """How long a site may work on it, counted from when it was sent; None: as long as it takes."""
    id: str = ""
    workflow: str = ""
    step: int = -1
    site: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= MAX_NAME_CHARACTERS:
            raise ValueError(f"wanted a task name of 1 to {MAX_NAME_CHARACTERS} characters, got {len(self.name)}: {self.name:.40}")
        if not _is_deadline(self.deadline_seconds):
            raise ValueError(f"Task {self.name!r}: wanted deadline_seconds above 0, or None, got {self.deadline_seconds!r:.40}")
        if not isinstance(self.model, Shareable | None):
            raise TypeError(f"Task {self.name!r}: wanted a Shareable as its model, or None, got a {type(self.model).__name__}")


def _is_deadline(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 < value < math.inf)


@dataclass(frozen=True, slots=True)
class Result:
    """What one site answered to one task. `shareable` reads its tensors from the result's file when they are asked for."""

    site: str
    task: str
    shareable: Shareable
    task_id: str = ""
    shared: Mapping[str, Any] = field(default_factory=dict)
    step: int = -1
    """The step that the task was sent in; a result may be used in a later one."""

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers the site reported with it."""
        return dict(self.shareable.meta.get("metrics") or {})
