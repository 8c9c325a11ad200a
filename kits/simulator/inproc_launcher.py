"""How job code runs without a process of its own: on the simulator's main thread, one piece at a time (engine inproc)."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np

from ...kernel.messages import Message, encode
from ...kernel.operator_roles import JobHandle, Launcher, LaunchSpec
from ...kernel.transport import Connection, EndOfConnection, Frame
from ..handover.messages import job_codec
from ..job.mailbox import Mailbox
from ..job.server_job import ServerJob
from ..job.site_job import SiteJob


class InprocLauncher(Launcher):
    """Hands the work of every job to one mailbox; whoever pumps it runs the jobs. Made on the supervisors' event loop."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        return _Handle(spec, self._mailbox)


class _Handle(JobHandle):
    """A job beside its supervisor. It cannot be killed; SIGTERM and SIGKILL ask it to stop."""

    def __init__(self, spec: LaunchSpec, mailbox: Mailbox) -> None:
        self.pid = 0
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self.channel: _Channel = _Channel(spec, mailbox, self._end)

    async def wait(self) -> str:
        await self._ended.wait()
        return ""

    def signal(self, number: int) -> None:
        self.channel.job.context.abort.set(f"signal {number}")

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)


class _Channel(Connection):
    """The supervisor's end of the channel; the other end are calls on the main thread."""

    def __init__(self, spec: LaunchSpec, mailbox: Mailbox, end: Callable[[], None]) -> None:
        self.local, self.peer = "supervisor", f"inproc job {spec.run_id}/{spec.name}"
        self._mailbox = mailbox
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._said: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._is_site = spec.role == "site"
        sender = _Sender(self._loop, self._said)
        self.job: ServerJob | SiteJob = SiteJob(sender, mailbox, may_drive=False) if self._is_site else ServerJob(sender, mailbox)

    async def send(self, *parts: Frame) -> None:
        message, body = job_codec.decode(b"".join(parts))
        self.job.on_arrival(message)
        self._mailbox.post(lambda: self._deliver(message, bytes(body)))

    def _deliver(self, message: Message, body: bytes) -> None:
        if self._is_over():
            return
        with generators_preserved() if self._is_site else nullcontext():
            self.job.on(message, body)
        if self._is_over():
            self._loop.call_soon_threadsafe(self._said.put_nowait, None)
            self._end()

    def _is_over(self) -> bool:
        return self.job.is_done

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
