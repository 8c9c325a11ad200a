"""What is a run given by the server it runs in?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...transports.link import Link, Writer
from ..protocol.records import RunFinished
from ..supervisor.job_process import JobProcesses


@dataclass(frozen=True)
class RunServices:
    """What a run is given by the server it runs in."""

    writer: Writer
    processes: JobProcesses
    link_of: Callable[[str], Link | None]
    """Site → its link, up or down."""
    on_end: Callable[[str, RunFinished], Awaitable[None]]
    settle: Callable[[str], Awaitable[None]]
    """Waits until what sites logged of a run is here."""
    on_step: Callable[[str], None]
    """A step was closed."""
    on_output: Callable[[str], None]
    """The log of a run has grown."""
    stall_seconds: float = 60.0
    now: Callable[[], float] = time.time
