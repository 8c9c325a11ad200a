"""How do the server and the sites of one machine start, work and end together?"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from ...kernel.errors import CommandLineError
from ..admin.session import Session, Waited
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


class SiteRefused(CommandLineError):
    """A site was started, and the server does not let it in.

    Cause: its kit belongs to another project, has a name that is in use, or the server's limit of sites is reached; the message
    has the server's words.

    Cure: mend what they name, or make the kits anew (`sundog poc`).
    """

    code = "SD-7017"


class NotStopped(CommandLineError):
    """A process does not end, not even when it is killed.

    Cause: the system cannot end it: its disk or its network file system does not answer.

    Cure: look at the process named in the message.
    """

    code = "SD-7016"


class _Done:
    """A call on a thread of its own, which `select` can wait for beside participants."""

    def __init__(self, call: Callable[[], Waited]) -> None:
        self._here, self._there = socket.socketpair()
        self._call = call
        self._future: Future[Waited] = Future()

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._here.close()

    def _run(self) -> None:
        try:
            self._future.set_result(self._call())
        except Exception as exc:  # noqa: BLE001  # `result` raises it
            self._future.set_exception(exc)
        self._there.close()

    def fileno(self) -> int:
        return self._here.fileno()

    def result(self) -> Waited:
        return self._future.result()


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
        """Wait until the server knows all sites.

        Raises:
            NotRegistered: it does not in time.
            SiteRefused, ParticipantGone: it never will.
        """

        def are_all_there(status: ServerStatus) -> bool:
            return status.registered_clients >= self.poc.sites

        with _Done(lambda: session.wait_until_server_status(READY_SECONDS, are_all_there)) as done:
            self._wait_for_loss(done)
            waited = done.result()
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
            SiteRefused: the server does not let one of them in.
        """
        self._wait_for_loss()

    def _wait_for_loss(self, *others: _Done) -> None:
        """Wait until a participant is lost, or one of the others is done. Raises: as `wait_for_loss`."""
        lost = [one for one in self._participants if one.has_said_more]
        if not lost:
            with self._interrupts.allowed():
                waited: list[_Done | Participant] = [*others, *self._participants]
                readable, _, _ = select.select(waited, [], [])
            lost = [one for one in readable if isinstance(one, Participant)]
        if not lost:
            return
        where = str(self.root / lost[0].name)
        if why := lost[0].refusal():
            raise SiteRefused(f"the server refuses {lost[0].name}: {why}", where=where)
        raise ParticipantGone(f"{lost[0].name} has ended; it says:\n{lost[0].last_words()}", where=where)


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
