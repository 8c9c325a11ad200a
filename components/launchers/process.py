"""How a job process is started as a child of its supervisor, with an inherited socketpair as its channel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process

from ...kernel.operator_roles import JobHandle, Launcher, LaunchSpec

JOB_MODULE = "sundog.kits.job"


class ChildProcess(JobHandle):
    """A job process that is our child and leads a process group of its own."""

    def __init__(self, process: Process, channel: socket.socket) -> None:
        self.pid = process.pid
        self.channel = channel
        self._process = process

    async def wait(self) -> str:
        return describe_exit(await self._process.wait())

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def __repr__(self) -> str:
        return f"ChildProcess(pid={self.pid}, exit={self._process.returncode})"


class ProcessLauncher(Launcher):
    """Starts job processes as children, under the supervisor's own user: isolation "none"."""

    isolation = "none"

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        ours, theirs = socket.socketpair()
        with theirs, (spec.folder / "log.txt").open("ab") as log:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1", **spec.environment}
            # The run's id stands last on the command line, so that `ps` shows whose process it is.
            arguments = [str(theirs.fileno()), spec.role, str(os.getpid()), spec.name, spec.run_id]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", JOB_MODULE, *arguments, stdin=DEVNULL, stdout=log, stderr=STDOUT,
                cwd=spec.folder, env=environment, pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        return ChildProcess(process, ours)


def describe_exit(status: int) -> str:
    """An exit status in words; "" for 0. Negative ones are signals, as asyncio reports them."""
    if status >= 0:
        return f"exit status {status}" if status else ""
    with contextlib.suppress(ValueError):
        return f"killed by signal {-status} ({signal.Signals(-status).name})"
    return f"killed by signal {-status}"
