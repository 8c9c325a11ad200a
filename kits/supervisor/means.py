"""What a server or a site works with: made by the program around it, shared by all that live in one process, replaced by tests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...transports.link import Intake, Timers, Writer
from ..workspace.disk import Disk


@dataclass(frozen=True)
class Means:
    """The writer thread, the admission of blobs, the disk and the clocks of a process."""

    writer: Writer
    intake: Intake
    disk: Disk = field(default_factory=Disk)
    now: Callable[[], float] = time.time
    """Seconds since 1970: the times of records and of job states."""
    timers: Timers = field(default_factory=Timers)
    """Every wait of its links."""


@asynccontextmanager
async def open_means(near: dict[str, Path] | None = None) -> AsyncIterator[Means]:
    """The usual ones, with a writer thread that ends with the block.

    Args:
        near: see Intake.
    """
    async with Writer() as writer:
        yield Means(writer, Intake(writer, near=near))
