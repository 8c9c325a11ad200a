"""Job channel: the command of a job process, and how the process and its supervisor get connected (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...kernel.errors import DaemonError
from ...kernel.operator_roles import CHANNEL_VARIABLE, TOKEN_VARIABLE, JobHandle, Launcher, LaunchSpec
from ...kernel.transport import Connection
from ...transports.stream import StreamConnection

JOB_MODULE = "sundog.kits.job"
CONNECT_SECONDS = 60.0
"""From the return of `launch`: an interpreter starts, perhaps in a container on a busy machine."""
TOKEN_BYTES = 32
MAX_SOCKET_PATH_BYTES = 100
"""sun_path holds 108 on Linux, 104 on macOS."""


class JobNotConnected(DaemonError):
    """A job process that was started has not connected to its supervisor in time.

    Cause: its launcher started something else than the command, the socket is not visible where it runs, or the Python
    there cannot import Sundog.

    Cure: read the run's log.txt; a container needs the socket and the run's folder mounted under the same paths.
    """

    code = "SD-5170"


class WrongChannelToken(DaemonError):
    """What connected to a supervisor in the place of a job process did not show the token of the launch.

    Cause: another program of this user connected to the socket, or the launcher dropped the environment of the process.

    Cure: check that the launcher passes `LaunchSpec.environment` on; the process is started again with a new token.
    """

    code = "SD-5171"


def job_spec(run_id: str, role: str, name: str, folder: Path, environment: Mapping[str, str]) -> LaunchSpec:
    """What a launcher is given, without the channel; the run's id stands last in the command, so that `ps` shows it."""
    command = (sys.executable, "-P", "-m", JOB_MODULE, role, name, run_id)
    return LaunchSpec(run_id, role, name, folder, command, {"PYTHONUNBUFFERED": "1", **environment})


class Channel:
    """The supervisor's side of one launch: the spec completed, then the connection. This one: the launcher gives it."""

    def __init__(self, spec: LaunchSpec) -> None:
        self.spec = spec
        """What the launcher is given."""

    async def connection(self, handle: JobHandle, _exiting: asyncio.Future[str]) -> Connection | None:
        """The connection to the process that was launched, the caller's from now on; None if it ended before it connected.

        Raises:
            JobNotConnected, WrongChannelToken: see there.
        """
        if handle.connection is None:
            raise JobNotConnected('the launcher\'s channel is "connection", but its handle has none', where=type(handle).__name__)
        return handle.connection

    def close(self) -> None:
        """Let go of all but the connection. Twice is fine."""


def open_channel(launcher: Launcher, spec: LaunchSpec, folder: Path) -> Channel:
    """A channel of the kind that a launcher asks for.

    Args:
        launcher: decides which.
        spec: without the channel.
        folder: for sockets; made when needed, for this user only.
    """
    match launcher.channel:
        case "inherited":
            return _Inherited(spec)
        case "address":
            return _Address(spec, folder)
        case "connection":
            return Channel(spec)


class _Inherited(Channel):
    """A socket pair of which the process inherits one end."""

    def __init__(self, spec: LaunchSpec) -> None:
        self._ours, self._theirs = socket.socketpair()
        number = self._theirs.fileno()
        super().__init__(replace(spec, descriptors=(number,), environment={**spec.environment, CHANNEL_VARIABLE: f"fd:{number}"}))

    async def connection(self, _handle: JobHandle, _exiting: asyncio.Future[str]) -> Connection:
        self._theirs.close()  # else its end of file is never seen
        return _stream(socket.socket(fileno=self._ours.detach()))

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class _Address(Channel):
    """A unix socket that takes one connection, which has to show the token of this launch."""

    def __init__(self, spec: LaunchSpec, folder: Path) -> None:
        self._token = secrets.token_hex(TOKEN_BYTES)
        self._awaited = "the job process to connect"
        with contextlib.ExitStack() as undo:
            self._path = _place(folder, spec.run_id, undo)
            self._listener = undo.enter_context(socket.socket(socket.AF_UNIX))
            self._listener.setblocking(False)
            self._listener.bind(os.fspath(self._path))
            self._listener.listen(1)
            self._undo = undo.pop_all()
        address = f"unix:{self._path}"
        secret = {CHANNEL_VARIABLE: address, TOKEN_VARIABLE: self._token}
        super().__init__(replace(spec, address=address, environment={**spec.environment, **secret}))

    async def connection(self, _handle: JobHandle, exiting: asyncio.Future[str]) -> Connection | None:
        accepting = asyncio.ensure_future(self._accept())
        try:
            either: list[asyncio.Future[Any]] = [accepting, exiting]
            await asyncio.wait(either, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if accepting.done():
                return accepting.result()
            if exiting.done():
                return None
            raise JobNotConnected(f"waited {CONNECT_SECONDS:g} s for {self._awaited}", where=str(self._path))
        finally:
            accepting.cancel()

    async def _accept(self) -> Connection:
        loop = asyncio.get_running_loop()
        sock, _ = await loop.sock_accept(self._listener)
        self.close()  # whatever this one is, there is no second
        self._awaited = "the token of what has connected"
        shown = b""
        with contextlib.ExitStack() as undo:
            undo.callback(sock.close)
            while len(shown) < len(self._token) and (more := await loop.sock_recv(sock, len(self._token) - len(shown))):
                shown += more
            if not hmac.compare_digest(shown, self._token.encode()):
                raise WrongChannelToken("another token was expected" if shown else "it showed none", where=str(self._path))
            undo.pop_all()
        return _stream(sock)

    def close(self) -> None:
        self._undo.close()


def _place(folder: Path, run_id: str, undo: contextlib.ExitStack) -> Path:
    """A path for the socket of a run, which has one job process at a time; a short one if the workspace's is too long."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / sha256(run_id.encode()).hexdigest()[:16]
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        path = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="sundog-"))) / "job"
    path.unlink(missing_ok=True)  # of a supervisor that was killed
    undo.callback(path.unlink, missing_ok=True)
    return path


def _stream(sock: socket.socket) -> Connection:
    return StreamConnection(sock, local="supervisor", peer="job")
