"""How a job process begins and ends: `python -m sundog.kits.job FD`, with the channel to its supervisor at that descriptor.

The main thread does the job's work; a second thread runs an asyncio loop with the one connection to the supervisor.
The end of that connection is the supervisor's death notice: the process leaves at once, since nothing it does could be kept.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from functools import partial
from types import FrameType
from typing import NoReturn

import structlog

from ...kernel.context import RunAborted
from ...kernel.errors import SundogError
from ...kernel.messages import Message, encode
from ...transports.stream import StreamConnection
from ..handover.messages import job_codec
from ..workspace.log import start_job_logging
from ..workspace.posix import die_with_parent
from .mailbox import Mailbox
from .server_job import ServerJob
from .site_job import SiteJob

log = structlog.get_logger()
SUPERVISOR_LOST = 71
"""Exit status when the supervisor is gone (sysexits' EX_OSERR)."""


class ProcessChannel:
    """The channel to the supervisor, on a thread with a loop of its own."""

    def __init__(self, sock: socket.socket, mailbox: Mailbox) -> None:
        self._sock = sock
        self._mailbox = mailbox
        self._loop = asyncio.new_event_loop()
        self._outgoing: asyncio.Queue[tuple[bytes | memoryview, ...] | None] = asyncio.Queue()
        self._thread = threading.Thread(target=self._run, name="channel", daemon=True)
        self.job: ServerJob | SiteJob | None = None

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def send(self, message: Message, *body: bytes | memoryview) -> None:
        """Hand a message to the supervisor; from the main thread, never waits."""
        self._loop.call_soon_threadsafe(self._outgoing.put_nowait, (encode(message), *body))

    def close(self) -> None:
        """Deliver what was sent, and end."""
        self._loop.call_soon_threadsafe(self._outgoing.put_nowait, None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._talk())

    async def _talk(self) -> None:
        connection = StreamConnection(self._sock, local="job", peer="supervisor")
        receiving = asyncio.ensure_future(self._receive(connection))
        while (parts := await self._outgoing.get()) is not None:
            await connection.send(*parts)
        receiving.cancel()
        await connection.close()

    async def _receive(self, connection: StreamConnection) -> None:
        try:
            while True:
                message, body = job_codec.decode(await connection.receive())
                if self.job is not None:
                    self.job.on_arrival(message)
                    self._mailbox.post(partial(self.job.on, message, bytes(body)))
        except SundogError as exc:
            log.warning("supervisor_lost", reason=exc.what)
            os._exit(SUPERVISOR_LOST)  # the main thread may be deep in user code


def main(arguments: list[str]) -> int:
    """Run one job process: arguments are the descriptor, the role and the parent's pid."""
    descriptor, role, parent = int(arguments[0]), arguments[1], int(arguments[2])
    die_with_parent(parent)
    start_job_logging()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which ends us in order
    signal.signal(signal.SIGTERM, _raise_aborted)
    mailbox = Mailbox()
    channel = ProcessChannel(socket.socket(fileno=descriptor), mailbox)
    job: ServerJob | SiteJob = ServerJob(channel, mailbox) if role == "server" else SiteJob(channel, mailbox, may_drive=True)
    channel.job = job
    channel.start()
    while not job.is_done:
        mailbox.pump()
    channel.close()
    return 0


def _raise_aborted(_number: int, _frame: FrameType | None) -> NoReturn:
    raise RunAborted("SIGTERM")


def run() -> NoReturn:
    """The entry point; leaves without tearing down the interpreter, which with torch takes longer than the work of a small job."""
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
