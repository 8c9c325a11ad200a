"""ProcessLauncher: job processes as children of their supervisor, under its own user."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import DEVNULL, STDOUT, Process

from ...kernel.operator_roles import PARENT_VARIABLE, JobHandle, Launcher, LaunchSpec, describe_exit


class ChildProcess(JobHandle):
    """A job process that is our child and leads a process group of its own."""

    def __init__(self, process: Process, output: int) -> None:
        self.pid = process.pid
        self.output = output
        self._process = process

    async def wait(self) -> str:
        return describe_exit(await self._process.wait())

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def __repr__(self) -> str:
        return f"ChildProcess(pid={self.pid}, exit={self._process.returncode})"


class ProcessLauncher(Launcher):
    """Starts job processes as children: isolation "none", which protects from accidents only."""

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        environment = {**os.environ, **spec.environment, PARENT_VARIABLE: str(os.getpid())}
        with contextlib.ExitStack() as undo:
            output, theirs = os.pipe()
            undo.callback(os.close, output)
            try:
                process = await asyncio.create_subprocess_exec(
                    *spec.command, stdin=DEVNULL, stdout=theirs, stderr=STDOUT, cwd=spec.folder, env=environment,
                    pass_fds=spec.descriptors, start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(theirs)
            undo.pop_all()
        return ChildProcess(process, output)
