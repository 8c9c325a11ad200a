"""How do the server and the sites of one machine start, work and end together?"""

from __future__ import annotations

import asyncio
import select
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from ...kernel.errors import CommandLineError
from ..admin.session import Session
from ..commands.status import ServerStatus
from ..supervisor.interrupts import Interrupts
from ..supervisor.stopping import stop_participant
from ..workspace.folders import Workspace
from ..workspace.posix import WorkspaceInUse, lock_holder
from .layout import read_poc
from .participant import READY_SECONDS, Output, Participant


class NotRegistered(CommandLineError):
    """Sites were started, but the server does not know them all.

    Cause: the kits of server and sites name different ports, or this machine is very busy.

    Cure: look at log.txt of the sites that are missing.
    """

    code = "SD-7014"


class ParticipantGone(CommandLineError):
    """A server or a site ended while the others were at work; they were ended, too.

    Cause: somebody stopped it, or it broke.

    Cure: look at its log.txt.
    """

    code = "SD-7015"


class NotStopped(CommandLineError):
    """A process does not end, not even when it is killed.

    Cause: the system cannot end it: its disk or its network file system does not answer.

    Cure: look at the process named in the message.
    """

    code = "SD-7016"


class Federation:
    """The processes of a POC; leaving the block ends them and waits until they are gone, unless they are to stay.

    Args:
        root: the POC's folder.
        interrupts: allowed wherever this waits.
        output: where the participants' logs go besides log.txt.

    Raises:
        NoPoc: it is none.
    """

    def __init__(self, root: Path, interrupts: Interrupts, output: Output = Output.NOWHERE) -> None:
        self.root = root
        self.poc = read_poc(root)
        self._interrupts = interrupts
        self._output = output
        self._participants: list[Participant] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """All at once: each may need some seconds."""
        for participant in self._participants:
            participant.let_go()
        with ExitStack() as stack:
            for participant in self._participants:
                stack.callback(participant.close)

    @property
    def names(self) -> list[str]:
        """Who runs as a process."""
        return self.poc.daemon_names

    def start(self) -> None:
        """Start all of them; returns when each works.

        Raises:
            WorkspaceInUse: one of them is started already.
            NotStarted: one of them does not come to work.
        """
        refuse_running(self.root)
        self._start({"server": "server"})  # before the sites, so that none looks for it in vain
        self._start(dict.fromkeys(self.poc.site_names, "site"))

    def _start(self, kinds: dict[str, str]) -> None:
        started = [self._begin(Participant(kind, self.root / name, self._output)) for name, kind in kinds.items()]
        with self._interrupts.allowed():
            for participant in started:
                participant.wait_ready()

    def _begin(self, participant: Participant) -> Participant:
        self._participants.append(participant)
        return participant

    def wait_registered(self, session: Session) -> None:
        """Wait until the server knows all sites. Raises: NotRegistered."""

        def are_all_there(status: ServerStatus) -> bool:
            return status.registered_clients >= self.poc.sites

        with self._interrupts.allowed():
            waited = session.wait_until_server_status(READY_SECONDS, are_all_there)
        if not waited.is_reached:
            there = [row.client for row in waited.status.clients] if isinstance(waited.status, ServerStatus) else []
            missing = [name for name in self.poc.site_names if name not in there]
            raise NotRegistered(f"{', '.join(missing)} not there after {READY_SECONDS:g} s", where=str(self.root))

    def stay(self) -> None:
        """Let them outlive us."""
        for participant in self._participants:
            participant.stay()

    def wait_for_loss(self) -> None:
        """Wait for ever; returns by an interrupt only.

        Raises:
            ParticipantGone: one of them has ended.
        """
        with self._interrupts.allowed():
            gone, _, _ = select.select(self._participants, [], [])
        raise ParticipantGone(f"{gone[0].name} has ended; it says:\n{gone[0].last_words()}", where=str(self.root / gone[0].name))


def refuse_running(root: Path) -> None:
    """Go on if nobody of a POC is at work.

    Raises:
        WorkspaceInUse: names who is.
    """
    for name in read_poc(root).daemon_names:
        pid = lock_holder(Workspace(root / name).lock)
        if pid:
            raise WorkspaceInUse(f"{name} is running: process {pid}", where=str(root / name))


def stop_poc(root: Path) -> list[str]:
    """Stop all that runs of a POC, and wait until it is gone; the names of those that ran.

    Raises:
        NotStopped: one of them is still there.
    """
    names = read_poc(root).daemon_names
    pids = asyncio.run(_stop([root / name for name in names]))
    stuck = [f"{name}: {pid}" for name, pid in zip(names, pids, strict=True) if isinstance(pid, TimeoutError)]
    if stuck:
        raise NotStopped(f"still running: {', '.join(stuck)}", where=str(root))
    for pid in pids:
        if isinstance(pid, BaseException):
            raise pid
    return [name for name, pid in zip(names, pids, strict=True) if pid]


async def _stop(folders: list[Path]) -> list[int | BaseException]:
    return await asyncio.gather(*map(stop_participant, folders), return_exceptions=True)
