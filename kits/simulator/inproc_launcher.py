"""How job code runs without a process of its own: on the simulator's main thread, one piece at a time (engine inproc)."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np

from ...kernel.messages import Message, encode
from ...kernel.operator_roles import JobHandle, Launcher, LaunchSpec
from ...kernel.transport import Connection, EndOfConnection, Frame
from ..handover.messages import Kept, job_codec
from ..job.mailbox import Mailbox
from ..job.server_job import ServerJob
from ..job.site_job import SiteJob

Strike = Callable[[Callable[[], bool]], object]
"""Raises RunAborted on the main thread if the function, asked there, says so."""


class InprocLauncher(Launcher):
    """Hands the work of every job to one mailbox; whoever pumps it runs the jobs. Made on the supervisors' event loop.

    Args:
        strike: what SIGTERM does to job code.
    """

    def __init__(self, mailbox: Mailbox, strike: Strike) -> None:
        self._mailbox = mailbox
        self._strike = strike
        self._handles: list[_Handle] = []
        self._has_given_up = False

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        handle = _Handle(spec, self._mailbox, self._strike)
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

    def __init__(self, spec: LaunchSpec, mailbox: Mailbox, strike: Strike) -> None:
        self.pid = 0
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._strike = strike
        self.channel: _Channel = _Channel(spec, mailbox, self.leave)

    async def wait(self) -> str:
        await self._ended.wait()
        return ""

    def signal(self, number: int) -> None:
        self.channel.job.context.abort.set(f"signal {number}")
        self._strike(lambda: self.channel.job.is_busy)
        if number == signal.SIGKILL:
            self.channel.leave_behind()
            self.leave()

    def leave(self) -> None:
        """To the supervisor, the job has ended; from any thread."""
        self._loop.call_soon_threadsafe(self.channel.say_goodbye)
        self._loop.call_soon_threadsafe(self._ended.set)


class _Channel(Connection):
    """The supervisor's end of the channel; the other end are calls on the main thread."""

    def __init__(self, spec: LaunchSpec, mailbox: Mailbox, leave: Callable[[], None]) -> None:
        self.local, self.peer = "supervisor", f"inproc job {spec.run_id}/{spec.name}"
        self._mailbox = mailbox
        self._leave = leave
        self._said: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._is_site = spec.role == "site"
        sender = _Sender(asyncio.get_running_loop(), self._said)
        self.job: ServerJob | SiteJob = SiteJob(sender, mailbox, may_drive=False) if self._is_site else ServerJob(sender, mailbox)

    async def send(self, *parts: Frame) -> None:
        message, body = job_codec.decode(b"".join(parts))
        if isinstance(message, Kept):  # a job does nothing with it, and a turn of the main thread is dear
            return
        self.job.on_arrival(message)
        self._mailbox.post(lambda: self._deliver(message, bytes(body)))

    def _deliver(self, message: Message, body: bytes) -> None:
        if self._is_over():
            return
        with generators_preserved() if self._is_site else nullcontext():
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

    def __init__(self, loop: asyncio.AbstractEventLoop, said: asyncio.Queue[Frame | None]) -> None:
        self._loop = loop
        self._said = said

    def send(self, message: Message, *body: bytes | memoryview) -> None:
        self._loop.call_soon_threadsafe(self._said.put_nowait, b"".join((encode(message), *body)))


@contextmanager
def generators_preserved() -> Iterator[None]:
    """A site's task runs in the middle of the server's workflow: it must not draw from that one's generators."""
    torch = sys.modules.get("torch")
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the old interface is what user code draws from
    torch_state = torch.random.get_rng_state() if torch is not None else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if torch is not None and torch_state is not None:
            torch.random.set_rng_state(torch_state)
