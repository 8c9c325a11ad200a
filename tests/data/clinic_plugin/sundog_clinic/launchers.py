"""ClinicLauncher: job processes as children of a relay, which is a child of the supervisor."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, STDOUT

from sundog import JobHandle, Launcher
from sundog.kernel.operator_roles import describe_exit


class RelayedProcess(JobHandle):
    """A relay and its job process: one process group."""

    def __init__(self, relay, output):
        self.pid = relay.pid
        self.output = output
        self._relay = relay

    async def wait(self):
        return describe_exit(await self._relay.wait())

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


class ClinicLauncher(Launcher):
    """Starts job processes by `sundog_clinic.relay`, which says so in the run's log."""

    async def launch(self, spec):
        output, write_end = os.pipe()
        try:
            relay = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "sundog_clinic.relay", *spec.command),
                env={**os.environ, **spec.environment},
                cwd=spec.folder,
                pass_fds=spec.descriptors,
                stdin=DEVNULL,
                stdout=write_end,
                stderr=STDOUT,
                start_new_session=True,
            )
        except BaseException:  # cancelled, too
            os.close(output)
            raise
        finally:
            os.close(write_end)
        return RelayedProcess(relay, output)
