"""First in, first out, among jobs of equal priority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from ...kernel.operator_roles import RunningJob, Scheduler, WaitingJob


class FifoScheduler(Scheduler):
    """Tries jobs by priority, the highest first, then in order of submission, while fewer than `max_jobs` run.

    A job whose sites are missing or busy does not hold up those behind it.

    Args:
        max_jobs: how many run at once.
    """

    def __init__(self, max_jobs: Annotated[int, msgspec.Meta(ge=1)] = 4) -> None:
        self.max_jobs = max_jobs

    def order(self, waiting: Sequence[WaitingJob], running: Sequence[RunningJob], free: Mapping[str, Mapping[str, Any]]) -> list[str]:
        if len(running) >= self.max_jobs:
            return []
        return [job.id for job in sorted(waiting, key=lambda job: -job.priority)]
