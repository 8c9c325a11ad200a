"""How job code runs without a process of its own: on the simulator's main thread, one piece at a time (engine inproc)."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable

from ...kernel.messages import Message, encode
from ...kernel.operator_roles import JobHandle, Launcher, LaunchSpec
from ...kernel.transport import Connection, EndOfConnection, Frame
from ..handover.messages import MAX_SAID_BYTES, Abort, Kept, Start, job_codec
from ..job.mailbox import Mailbox
from ..job.server_job import ServerJob
from ..job.site_job import SiteJob
from .generators import Generators


def call_on(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    """Have the supervisors' loop call this, from any thread; once it has ended, nobody is there to listen, and nothing happens.

    Job code may outlive the supervisors: it cannot be killed, only left behind.
    """
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise


class LoopCalls:
    """Calls for the supervisors' loop from the main thread, in order; the loop is woken once for all that wait.

    No lock: `_deliver` lowers the flag before it looks, so what was appended before the flag was read here is seen.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._is_told = False

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the loop call this after everything before; from any thread."""
        self._waiting.append((function, arguments))
        if not self._is_told:
            self._is_told = True
            call_on(self._loop, self._deliver)

    def _deliver(self) -> None:
        self._is_told = False
        while self._waiting:
            function, arguments = self._waiting.popleft()
            function(*arguments)


Strike = Callable[[Callable[[], bool]], object]
"""Raises RunAborted on the main thread if the function, asked there, says so."""


class MainThread:
    """Where all job code runs: whoever pumps its mailbox.

    Args:
        strike: what SIGTERM does to job code.
    """

    def __init__(self, strike: Strike) -> None:
        self.strike = strike
        self.generators = Generators()
        self.mailbox = Mailbox(after=self.generators.give_back)


class InprocLauncher(Launcher):
    """Hands the work of every job to one thread. Made on the supervisors' event loop."""

    channel = "connection"

    def __init__(self, main: MainThread) -> None:
        self._main = main
        self._calls: LoopCalls | None = None
        self._handles: list[_Handle] = []
        self._has_given_up = False

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        if self._calls is None:
            self._calls = LoopCalls(asyncio.get_running_loop())
        handle = _Handle(spec, self._main, self._calls)
        self._handles.append(handle)
        if self._has_given_up:
            handle.leave()
        return handle

    def give_up(self) -> None:
        """Nobody pumps the mailbox any more: to the supervisors, every job has ended."""
        self._has_given_up = True
        for handle in self._handles:
            handle.leave()


class _Handle(JobHandle):
    """A job beside its supervisor. It cannot be killed; SIGTERM interrupts its code; SIGKILL, too, and leaves it behind."""

    def __init__(self, spec: LaunchSpec, main: MainThread, calls: LoopCalls) -> None:
        self._calls = calls
        self._ended = asyncio.Event()
        self._strike = main.strike
        self.connection: _Channel = _Channel(spec, main, calls, self.leave)

    async def wait(self) -> str:
        await self._ended.wait()
        return ""

    def signal(self, number: int) -> None:
        if self._ended.is_set():
            return
        self.connection.job.context.abort.set(f"signal {number}")
        self._strike(lambda: self.connection.job.is_busy)
        if number == signal.SIGKILL:
            self.connection.leave_behind()
            self.leave()

    def leave(self) -> None:
        """To the supervisor, the job has ended; from any thread."""
        self._calls.call(self.connection.say_goodbye)
        self._calls.call(self._ended.set)


class _Channel(Connection):
    """The supervisor's end of the channel; the other end are calls on the main thread."""

    def __init__(self, spec: LaunchSpec, main: MainThread, calls: LoopCalls, leave: Callable[[], None]) -> None:
        self.local, self.peer = "supervisor", f"inproc job {spec.run_id}/{spec.name}"
        self._mailbox = main.mailbox
        self._generators = main.generators
        self._leave = leave
        self._said: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._is_site = spec.role == "site"
        self._is_aborted = False
        sender = _Sender(calls, self._said)
        self.job: ServerJob | SiteJob = SiteJob(sender, main.mailbox, may_drive=False) if self._is_site else ServerJob(sender, main.mailbox)

    async def send(self, *parts: Frame) -> None:
        message, body = job_codec.decode(b"".join(parts))
        if isinstance(message, Kept):  # a job does nothing with it, and a turn of the main thread is dear
            return
        self._is_aborted |= isinstance(message, Abort) and not message.task_id
        self.job.on_arrival(message)
        self._mailbox.post(lambda: self._deliver(message, bytes(body)))

    def _deliver(self, message: Message, body: bytes) -> None:
        if self._is_over():
            return
        if self._is_aborted and isinstance(message, Start):  # a thousand apps are not built to be thrown away
            self.job.is_done = True
            self._leave()
            return
        if self._is_site:
            self._generators.lend()
        else:
            self._generators.give_back()
        self.job.on(message, body)
        if self._is_over():
            self._leave()

    def _is_over(self) -> bool:
        return self.job.is_done

    def leave_behind(self) -> None:
        """The job waits for nothing any more."""
        self.job.is_done = True
        self._mailbox.post(lambda: None)

    def say_goodbye(self) -> None:
        """Nothing more is said."""
        self._said.put_nowait(None)

    async def receive(self) -> Frame:
        frame = await self._said.get()
        if frame is None:
            raise EndOfConnection("the job has ended")
        return frame

    async def close(self) -> None:
        return None

    def abort(self) -> None:
        return None


class _Sender:
    """The job's end: what it says goes to the supervisors' loop."""

    def __init__(self, calls: LoopCalls, said: asyncio.Queue[Frame | None]) -> None:
        self._calls = calls
        self._said = said

    def send(self, message: Message, *body: bytes | memoryview) -> None:
        self._calls.call(self._said.put_nowait, b"".join((encode(message, MAX_SAID_BYTES), *body)))
