"""What is a run given by the server it runs in?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...kernel.operator_roles import Launcher
from ...transports.link import Link, Writer
from ..protocol.records import RunFinished


@dataclass(frozen=True)
class RunServices:
    """What a run is given by the server it runs in."""

    writer: Writer
    launcher: Launcher
    link_of: Callable[[str], Link | None]
    """Site → its link, up or down."""
    on_end: Callable[[str, RunFinished], Awaitable[None]]
    settle: Callable[[str], Awaitable[None]]
    """Waits until what sites logged of a run is here."""
    on_step: Callable[[str], None]
    """A step was closed."""
    stall_seconds: float = 60.0
    now: Callable[[], float] = time.time
