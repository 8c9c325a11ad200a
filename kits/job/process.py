"""The life of a job process: `python -m sundog.kits.job ROLE NAME RUN`, with the channel to its supervisor in its environment.

The main thread does the job's work; a second thread runs an asyncio loop with the one connection to the supervisor.
The end of that connection is the supervisor's death notice: the process leaves at once, since nothing it does could be kept.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import MutableMapping
from functools import partial
from types import FrameType
from typing import NoReturn

import structlog

from ...kernel.context import RunAborted
from ...kernel.errors import SundogError
from ...kernel.messages import Message, encode
from ...kernel.operator_roles import CHANNEL_VARIABLE, PARENT_VARIABLE, TOKEN_VARIABLE
from ...transports.stream import StreamConnection
from ..handover.messages import MAX_SAID_BYTES, Abort, Finished, job_codec
from ..workspace.log import start_job_logging
from ..workspace.posix import die_with_parent
from .mailbox import Mailbox
from .server_job import ServerJob
from .site_job import SiteJob

log = structlog.get_logger()
SUPERVISOR_LOST = 71
"""Exit status when the supervisor is gone (sysexits' EX_OSERR)."""
MESSAGES_WAITING = 64
"""So many messages may wait for a supervisor that does not read; then job code waits, too."""


class ProcessChannel:
    """The channel to the supervisor, on a thread with a loop of its own."""

    def __init__(self, sock: socket.socket, mailbox: Mailbox) -> None:
        self._sock = sock
        self._mailbox = mailbox
        self._loop = asyncio.new_event_loop()
        self._outgoing: asyncio.Queue[tuple[bytes | memoryview, ...] | None] = asyncio.Queue()
        self._room = threading.Semaphore(MESSAGES_WAITING)
        self._thread = threading.Thread(target=self._run, name="channel", daemon=True)
        self.job: ServerJob | SiteJob | None = None
        self.is_told_to_end = False
        """Whether the supervisor has said that the run, or a task, is over."""

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def send(self, message: Message, *body: bytes | memoryview) -> None:
        """Hand a message to the supervisor; from the main thread, which waits while too many wait already.

        Raises:
            FrameTooLarge: the supervisor would not hear it.
        """
        header = encode(message, MAX_SAID_BYTES)
        self._room.acquire()  # the channel's thread gives it back
        self._loop.call_soon_threadsafe(self._outgoing.put_nowait, (header, *body))

    def close(self) -> None:
        """Deliver what was sent, and end."""
        self._loop.call_soon_threadsafe(self._outgoing.put_nowait, None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._talk())
            self._loop.close()
        except Exception as exc:  # noqa: BLE001  # such as job code that closed every descriptor: nothing can be said any more
            _leave(str(exc))

    async def _talk(self) -> None:
        connection = StreamConnection(self._sock, local="job", peer="supervisor")
        receiving = asyncio.ensure_future(self._receive(connection))
        while (parts := await self._outgoing.get()) is not None:
            await connection.send(*parts)
            self._room.release()
        receiving.cancel()
        await connection.close()

    async def _receive(self, connection: StreamConnection) -> None:
        try:
            while True:
                message, body = job_codec.decode(await connection.receive())
                self.is_told_to_end |= isinstance(message, Abort | Finished)
                if self.job is not None:
                    self.job.on_arrival(message)
                    self._mailbox.post(partial(self.job.on, message, bytes(body)))
        except SundogError as exc:
            _leave(exc.what)


def _leave(why: str) -> NoReturn:
    log.warning("supervisor_lost", reason=why)
    os._exit(SUPERVISOR_LOST)  # the main thread may be deep in user code


def connect(environment: MutableMapping[str, str]) -> socket.socket:
    """The socket to the supervisor. Takes what says so out of the environment: it is not for what the job starts."""
    address, token = environment.pop(CHANNEL_VARIABLE, ""), environment.pop(TOKEN_VARIABLE, "")
    kind, _, place = address.partition(":")
    if kind == "fd":
        return socket.socket(fileno=int(place))
    if kind == "unix":
        found = socket.socket(socket.AF_UNIX)
        found.connect(place)
        found.sendall(token.encode())
        return found
    raise SystemExit(f"{CHANNEL_VARIABLE}: expected fd:NUMBER or unix:PATH, got {address!r}; supervisors start job processes")


def main(arguments: list[str]) -> int:
    """Run one job process: arguments are the role, the participant's name and the run's id; the last two are for `ps`."""
    role = arguments[0]
    if parent := os.environ.pop(PARENT_VARIABLE, ""):
        die_with_parent(int(parent))
    supervisor = connect(os.environ)
    start_job_logging()
    faulthandler.enable()  # a crash in native code names the line that led to it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which ends us in order
    mailbox = Mailbox()
    channel = ProcessChannel(supervisor, mailbox)
    signal.signal(signal.SIGTERM, partial(_on_terminate, channel))
    job: ServerJob | SiteJob = ServerJob(channel, mailbox) if role == "server" else SiteJob(channel, mailbox, may_drive=True)
    channel.job = job
    channel.start()
    while not job.is_done:
        mailbox.pump()
    channel.close()
    return 0


def _on_terminate(channel: ProcessChannel, number: int, _frame: FrameType | None) -> None:
    """The supervisor says why before it sends SIGTERM. From anybody else it is a death like any other, and no decision about the run."""
    if channel.is_told_to_end:
        raise RunAborted("SIGTERM")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def run() -> NoReturn:
    """The entry point; leaves without tearing down the interpreter, which with torch takes longer than the work of a small job."""
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
