"""Which waiting job is tried next? The one that was submitted first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from ...kernel.operator_roles import Scheduler


class FifoScheduler(Scheduler):
    """Tries jobs in order of submission while fewer than `max_jobs` run; asked again after each start.

    A job whose sites are busy does not hold up those behind it.

    Args:
        max_jobs: how many run at once.
    """

    def __init__(self, max_jobs: Annotated[int, msgspec.Meta(ge=1)] = 4) -> None:
        self.max_jobs = max_jobs

    def order(self, waiting: Sequence[Mapping[str, Any]], running: Sequence[Mapping[str, Any]]) -> list[str]:
        return [meta["job_id"] for meta in waiting] if len(running) < self.max_jobs else []
