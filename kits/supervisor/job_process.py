"""Job processes of a participant, seen from their supervisor: start one, talk to it, see it end, make it end (PROTOCOL §4, §6)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog

from ...kernel.errors import SundogError, TransportError
from ...kernel.messages import Message, encode
from ...kernel.operator_roles import JobHandle, Launcher, LaunchSpec
from ...kernel.transport import Connection, EndOfConnection
from ..handover.messages import Abort, Start, StartDocument, said_codec
from ..workspace import posix
from .job_channel import Channel, open_channel
from .job_output import JobOutput, LastWords

log = structlog.get_logger()
TERM_SECONDS = 3.0
"""Between SIGTERM and SIGKILL."""
LAST_MESSAGES_SECONDS = 5.0
OUTPUT_SECONDS = 1.0
"""For the end of the output of a process that has ended; something that got away may hold it open for ever."""
LEAVE_SECONDS = 2.0
"""For a process whose channel is gone to end by itself."""
MAX_WAITING_BYTES = 256 * 1024 * 1024
"""What is said to a process and not sent yet; beyond it the process is killed, else one that does not read fills the supervisor's memory.

Four times what a thousand sites' results of one step take, which ride along up to 64 KiB each.
"""
SWEEPS = 2
"""A process may fork while it is looked for."""

_awaited: set[int] = set()
"""Children of this program whose exit status is awaited. It adopts the orphans of all its job processes, whoever of its
participants started them; these are not orphans."""


class JobProcesses:
    """The job processes of one participant.

    Args:
        launcher: starts them.
        channels: a folder for their sockets; made when needed.
    """

    def __init__(self, launcher: Launcher, channels: Path) -> None:
        self.launcher = launcher
        self.channels = channels
        self.alive: set[JobProcess] = set()
        """Those that run, or are being started."""

    def kill_all(self) -> None:
        """End every one without asking; each is then seen to end as usual."""
        for process in self.alive:
            process.kill()


class JobProcess:
    """One job process. `on_message` is awaited for each message, `on_end(how, last_words)` called once, when it is gone.

    While a message is awaited no other is read: a job that says more than its supervisor can take has to wait.

    Args:
        processes: those of the participant.
        spec: what with; the channel is added.
        document: makes the first thing it is told, and room for what it hands over; what that raises is a death like any other.
        output: takes what it prints.
    """

    def __init__(
        self,
        processes: JobProcesses,
        spec: LaunchSpec,
        document: Callable[[], StartDocument],
        on_message: Callable[[Message, memoryview], Awaitable[None]],
        on_end: Callable[[str, str], None],
        output: JobOutput,
    ) -> None:
        self._processes = processes
        self._spec = spec
        self._document = document
        self._on_message = on_message
        self._on_end = on_end
        self._output = output
        self._outgoing: asyncio.Queue[tuple[bytes | memoryview, ...]] = asyncio.Queue()
        self._waiting_bytes = 0
        """What is in it, and what is being sent."""
        self._launching: asyncio.Future[JobHandle] | None = None
        self._handle: JobHandle | None = None
        self._ended = asyncio.Event()
        self._words = LastWords()
        self._why_killed = ""
        self.pid = 0
        """0 for one that is no child of ours."""

    async def run(self) -> None:
        """Start it and serve it until it has ended; then everything it started is gone too."""
        self._processes.alive.add(self)
        try:
            how = "; ".join(filter(None, (await self._live(), self._why_killed)))
        except Exception as exc:
            log.exception("job_process_lost", run=self._spec.run_id, pid=self.pid)
            how = f"it could not be started or served: {exc}"
            await self._sweep()
        finally:
            _awaited.discard(self.pid)
            self._processes.alive.discard(self)
            if self._handle is not None:
                self._handle.release()
            self._ended.set()
        log.info("job_process_ended", run=self._spec.run_id, pid=self.pid, how=how or "exit status 0")
        self._on_end(how, str(self._words))

    async def _live(self) -> str:
        start = (encode(Start(self._spec.run_id)), msgspec.msgpack.encode(self._document()))
        with contextlib.closing(open_channel(self._processes.launcher, self._spec, self._processes.channels)) as channel:
            handle = self._handle = await self._launch(channel.spec)
            if handle is None:
                return "it was stopped while it was being started"
            log.info("job_process_started", run=self._spec.run_id, pid=handle.pid)
            exiting = asyncio.ensure_future(handle.wait())
            talking = asyncio.create_task(self._talk(channel, handle, exiting, start))
            copying = asyncio.create_task(self._copy(handle))
            try:
                how = await exiting
                await self._sweep()  # first: what it forked may hold channel and output open
                await asyncio.wait([talking], timeout=LAST_MESSAGES_SECONDS)  # what it said last is still in the channel
                await asyncio.wait([copying], timeout=OUTPUT_SECONDS)
            finally:
                talking.cancel()
                copying.cancel()
                await asyncio.gather(talking, copying, return_exceptions=True)
        return how

    async def _launch(self, spec: LaunchSpec) -> JobHandle | None:
        """The handle; None if `stop` has put an end to a start that took too long."""
        if self._why_killed:
            return None
        launching = self._launching = asyncio.ensure_future(self._processes.launcher.launch(spec))
        try:
            await asyncio.wait([launching])
        finally:
            launching.cancel()
        if launching.cancelled():
            return None
        handle = launching.result()
        self.pid = handle.pid
        if handle.pid:
            _awaited.add(handle.pid)
        return handle

    async def _copy(self, handle: JobHandle) -> None:
        if handle.output is not None:
            await self._output.copy(handle.output, self._words)

    async def _talk(self, channel: Channel, handle: JobHandle, exiting: asyncio.Future[str], start: tuple[bytes, ...]) -> None:
        try:
            connection = await channel.connection(handle, exiting)
        except (SundogError, OSError) as exc:
            log.warning("job_channel_not_open", run=self._spec.run_id, pid=self.pid, reason=str(exc))
            self._why_killed = f"because it could not be served: {exc}"
            self.kill()
            return
        if connection is None:
            return
        sending = asyncio.create_task(self._send(connection, start))
        try:
            await self._receive(connection, exiting)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            connection.abort()

    def send(self, message: Message, *body: bytes | memoryview) -> None:
        """Say something to it; what it cannot hear any more is dropped. One that lets too much of it wait is killed."""
        parts = (encode(message), *body)
        if self._why_killed:
            return
        self._waiting_bytes += _size(parts)
        if self._waiting_bytes <= MAX_WAITING_BYTES:
            self._outgoing.put_nowait(parts)
            return
        log.warning("job_process_does_not_read", run=self._spec.run_id, pid=self.pid, waiting_bytes=self._waiting_bytes)
        self._outgoing = asyncio.Queue()
        self._why_killed = "because it did not read what it was told"
        self.kill()

    async def stop(self, reason: str, grace_seconds: float) -> None:
        """The ladder: ask, wait, SIGTERM, wait, SIGKILL; returns when it is gone with all it started."""
        if reason:
            self.send(Abort(reason))
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, TERM_SECONDS)):
            if await self._ends_within(seconds):
                return
            log.warning("job_process_does_not_end", run=self._spec.run_id, pid=self.pid, signal=number.name)
            if number is signal.SIGKILL:
                self.kill()
            elif self._handle is not None:
                self._handle.signal(number)
        await self._ended.wait()

    def kill(self) -> None:
        """End it at once, also while it is still being started; `run` then sees it end as usual."""
        if self._handle is not None:
            self._handle.signal(signal.SIGKILL)
        elif self._launching is not None:
            self._launching.cancel()

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
                parts = await self._outgoing.get()
                await connection.send(*parts)
                self._waiting_bytes -= _size(parts)
        except SundogError:
            return  # its end is seen by `wait`

    async def _receive(self, connection: Connection, exiting: asyncio.Future[str]) -> None:
        """Hear it until it has said goodbye. One that cannot be heard any more, or not understood, is not waited for."""
        try:
            while True:
                await self._on_message(*said_codec.decode(await connection.receive()))
        except EndOfConnection:
            return
        except TransportError:
            await asyncio.wait([exiting], timeout=LEAVE_SECONDS)  # most often it has died
            why = "because it had closed its channel to the supervisor"
        except Exception as exc:
            log.exception("job_channel_broken", run=self._spec.run_id, pid=self.pid)
            why = f"because what it said made no sense: {exc}"
        if not exiting.done():
            self._why_killed = why
            self.kill()

    async def _sweep(self) -> None:
        """End what it started and left behind: what its handle reaches, then, on this machine, whatever carries the run's mark."""
        if self._handle is None:
            return
        self._handle.signal(signal.SIGKILL)
        mark = self._spec.environment.get(posix.RUN_VARIABLE, "")
        if not self.pid or not mark:
            return
        for _ in range(SWEEPS):
            left = posix.processes_of_run(mark)
            for pid in left:
                posix.signal_process(pid, signal.SIGKILL)
            for pid in left:
                with contextlib.suppress(TimeoutError):  # it is stuck in the kernel
                    await posix.wait_for_pid_end(pid, TERM_SECONDS)
        posix.reap_adopted(_awaited)


def _size(parts: tuple[bytes | memoryview, ...]) -> int:
    return sum(map(len, parts))
