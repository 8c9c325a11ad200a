"""A job process seen from its supervisor: start it, talk to it, see it end, make it end (PROTOCOL §4, §6)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar

import msgspec
import structlog

from ...kernel.errors import SundogError, TransportError
from ...kernel.messages import Message, encode
from ...kernel.operator_roles import JobHandle, Launcher, LaunchSpec
from ...kernel.transport import Connection, EndOfConnection
from ...transports.stream import StreamConnection
from ..handover.messages import Abort, Start, StartDocument, job_codec
from ..workspace import posix

log = structlog.get_logger()
TERM_SECONDS = 3.0
"""Between SIGTERM and SIGKILL."""
LAST_MESSAGES_SECONDS = 5.0
LEAVE_SECONDS = 2.0
"""For a process whose channel is gone to end by itself."""
SWEEPS = 2
"""A process may fork while it is looked for."""
LAST_WORDS_BYTES = 4000
LAST_WORDS_CHARS = 300


class JobProcess:
    """One job process. `on_message` is awaited for each message, `on_end(how, last_words)` called once, when it is gone.

    While a message is awaited no other is read: a job that says more than its supervisor can take has to wait.

    Args:
        launcher: starts it.
        spec: what with.
        document: makes the first thing it is told, and room for what it hands over; what that raises is a death like any other.
    """

    _alive: ClassVar[dict[int, JobHandle]] = {}
    """This supervisor's job processes by pid; somebody waits for their exit status."""

    def __init__(
        self,
        launcher: Launcher,
        spec: LaunchSpec,
        document: Callable[[], StartDocument],
        on_message: Callable[[Message, memoryview], Awaitable[None]],
        on_end: Callable[[str, str], None],
    ) -> None:
        self._launcher = launcher
        self._spec = spec
        self._document = document
        self._on_message = on_message
        self._on_end = on_end
        self._outgoing: asyncio.Queue[tuple[bytes | memoryview, ...]] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._handle: JobHandle | None = None
        self._why_killed = ""
        self.pid = 0

    async def run(self) -> None:
        """Start it and serve it until it has ended; then everything it started is gone too."""
        try:
            how = "; ".join(filter(None, (await self._live(), self._why_killed)))
        except Exception as exc:
            log.exception("job_process_lost", run=self._spec.run_id, pid=self.pid)
            how = f"it could not be started or served: {exc}"
            await self._sweep()
        finally:
            self._alive.pop(self.pid, None)
            self._ended.set()
        log.info("job_process_ended", run=self._spec.run_id, pid=self.pid, how=how or "exit status 0")
        self._on_end(how, self._last_words())

    async def _live(self) -> str:
        start = (encode(Start(self._spec.run_id)), msgspec.msgpack.encode(self._document()))
        handle = self._handle = await self._launcher.launch(self._spec)
        self.pid = handle.pid
        self._alive[self.pid] = handle
        log.info("job_process_started", run=self._spec.run_id, pid=handle.pid)
        connection = _connection(handle.channel)
        exiting = asyncio.ensure_future(handle.wait())
        talking = [asyncio.create_task(self._send(connection, start)), asyncio.create_task(self._receive(connection, exiting))]
        try:
            how = await exiting
            await self._sweep()  # first: what it forked may hold the channel open
            await asyncio.wait(talking[1:], timeout=LAST_MESSAGES_SECONDS)  # what it said last is still in the channel
        finally:
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)
            connection.abort()
        return how

    @classmethod
    def kill_all(cls) -> None:
        """End every job process of this supervisor without asking; each is then seen to end as usual."""
        for handle in cls._alive.values():
            handle.signal(signal.SIGKILL)

    def send(self, message: Message, *body: bytes | memoryview) -> None:
        """Say something to it; what it cannot hear any more is dropped."""
        self._outgoing.put_nowait((encode(message), *body))

    async def stop(self, reason: str, grace_seconds: float) -> None:
        """The ladder: ask, wait, SIGTERM, wait, SIGKILL; returns when it is gone with all it started."""
        if reason:
            self.send(Abort(reason))
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, TERM_SECONDS)):
            if await self._ends_within(seconds):
                return
            log.warning("job_process_does_not_end", run=self._spec.run_id, pid=self.pid, signal=number.name)
            if self._handle is not None:
                self._handle.signal(number)
        await self._ended.wait()

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    async def _send(self, connection: Connection, start: tuple[bytes, ...]) -> None:
        try:
            await connection.send(*start)
            while True:
                await connection.send(*await self._outgoing.get())
        except SundogError:
            return  # its end is seen by `wait`

    async def _receive(self, connection: Connection, exiting: asyncio.Future[str]) -> None:
        """Hear it until it has said goodbye. One that cannot be heard any more, or not understood, is not waited for."""
        try:
            while True:
                await self._on_message(*job_codec.decode(await connection.receive()))
        except EndOfConnection:
            return
        except TransportError:
            await asyncio.wait([exiting], timeout=LEAVE_SECONDS)  # most often it has died
            why = "because it had closed its channel to the supervisor"
        except Exception as exc:
            log.exception("job_channel_broken", run=self._spec.run_id, pid=self.pid)
            why = f"because what it said made no sense: {exc}"
        if self._handle is not None and not exiting.done():
            self._why_killed = why
            self._handle.signal(signal.SIGKILL)

    async def _sweep(self) -> None:
        """End what it started and left behind: the rest of its group, then whatever carries the run's mark."""
        if self._handle is None or not self.pid:  # it had no process of its own
            return
        self._handle.signal(signal.SIGKILL)
        mark = self._spec.environment.get(posix.RUN_VARIABLE, "")
        for _ in range(SWEEPS):
            left = posix.processes_of_run(mark) if mark else []
            for pid in left:
                posix.signal_process(pid, signal.SIGKILL)
            for pid in left:
                with contextlib.suppress(TimeoutError):  # it is stuck in the kernel
                    await posix.wait_for_pid_end(pid, TERM_SECONDS)
        posix.reap_adopted(self._alive)

    def _last_words(self) -> str:
        """The last line of its log, or the one by which Python says that native code crashed; the log has the rest."""
        path = Path(self._spec.folder) / "log.txt"
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LAST_WORDS_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
        fatal = [line for line in lines if line.startswith("Fatal Python error")]
        return next(filter(None, reversed(fatal or lines)), "")[:LAST_WORDS_CHARS]


def _connection(channel: socket.socket | Connection) -> Connection:
    if isinstance(channel, Connection):
        return channel
    return StreamConnection(channel, local="supervisor", peer="job")
