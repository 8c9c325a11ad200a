"""RemoteLauncher: job processes by a program that is no child of ours (remote_host.py), written from the public contract alone."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any

from sundog import JobHandle, Launcher, LaunchSpec
from sundog.kernel.operator_roles import describe_exit


class RemoteProcess(JobHandle):
    """A process of the remote host. `pid` stays 0: its number means nothing here."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, output: socket.socket) -> None:
        self.output = output.detach()
        self._reader = reader
        self._writer = writer

    async def wait(self) -> str:
        try:
            said = await self._reader.readline()
        except OSError:
            said = b""
        return describe_exit(int(said)) if said else "the remote host is gone"

    def signal(self, number: int) -> None:
        self._writer.write(b"%d\n" % number)

    def release(self) -> None:
        self._writer.close()


class RemoteLauncher(Launcher):
    """Starts job processes by a remote host.

    Args:
        host: the socket at which it listens.
    """

    channel = "address"

    def __init__(self, host: str) -> None:
        self._host = host

    async def launch(self, spec: LaunchSpec) -> JobHandle:
        start = {"command": spec.command, "environment": dict(spec.environment), "folder": str(spec.folder)}
        reader, writer = await asyncio.open_unix_connection(sock=await self._ask({"start": start}))
        try:
            number = int(await reader.readline())
            return RemoteProcess(reader, writer, await self._ask({"output": number}))
        except BaseException:  # cancelled, too: the host ends what it started
            writer.close()
            raise

    async def _ask(self, wanted: Mapping[str, Any]) -> socket.socket:
        loop, sock = asyncio.get_running_loop(), socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, self._host)
            await loop.sock_sendall(sock, json.dumps(wanted).encode() + b"\n")
        except BaseException:
            sock.close()
            raise
        return sock
