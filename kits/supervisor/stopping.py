"""How is a participant that runs somewhere on this machine stopped? By its lock, which names it; never by a file that may be old."""

from __future__ import annotations

import signal
from pathlib import Path

from ..workspace import posix
from ..workspace.folders import Workspace

CLEAN_SECONDS = 20.0
"""More than the whole ladder by which a job process is ended."""
HURRY_SECONDS = 5.0
LADDER = ((signal.SIGTERM, CLEAN_SECONDS), (signal.SIGTERM, HURRY_SECONDS), (signal.SIGKILL, HURRY_SECONDS))
"""Ask; ask again, which has the job processes killed; kill."""


async def stop_participant(folder: Path) -> int:
    """Stop who is at work in a participant's folder and wait until it is gone; its pid, or 0 if nobody was.

    Raises:
        NoKit: it is no participant's folder.
        WorkspaceInUse: somebody has only just started there.
        TimeoutError: not even SIGKILL has ended it.
    """
    lock = Workspace(folder).lock
    pid = posix.lock_holder(lock)
    for number, seconds in LADDER if pid else ():
        if posix.lock_holder(lock) != pid:
            break
        posix.signal_process(pid, number)
        try:
            await posix.wait_for_pid_end(pid, seconds)
        except TimeoutError:
            if number is signal.SIGKILL:
                raise
    return pid
