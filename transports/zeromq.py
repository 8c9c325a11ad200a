"""Which addresses does ZeroMQ have, who dials whom, and how do they meet?

A connection is a DEALER of its own, which never connects again; a listener is one ROUTER for all its peers. Between
them: HELLO, OPENED with a word that nobody can guess, READY with the same word. Only then there is a connection.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import secrets
import socket
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import zmq

from ..kernel.transport import MAX_FRAME_BYTES, AddressError, ConnectFailed, Connection, Listener, ListenFailed, Security, Transport
from ..kernel.wording import reason_of
from .address import Address
from .resolving import to_bind, to_dial
from .zeromq_connection import GONE, ZmqConnection
from .zeromq_listener import HELLO, KIND_BYTES, OPENED, READY, WORD_BYTES, hub_at, is_ours
from .zeromq_socket import LoopSocket, Parts, SharedContext

_dialing = SharedContext()
_callers = itertools.count(1)


class _Wire(Transport):
    """What both address forms share."""

    async def listen(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Listener:
        self.require_clear(security, address)
        try:
            hub = hub_at(await self._to_bind(address), max_frame_bytes)
            bound, contact = self._names(address, hub.endpoint)
            return hub.listen(bound, contact, self._caller)
        except OSError as error:
            raise ListenFailed(reason_of(error), where=address) from error
        except zmq.ZMQError as error:
            raise ListenFailed(error.strerror, where=address) from error

    async def connect(self, address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Connection:
        self.require_clear(security, address)
        failures = []
        try:
            for endpoint in await self._to_dial(address):
                try:
                    return await _Call(endpoint, address, max_frame_bytes).answer()
                except ConnectFailed as error:
                    failures.append(error)
        except OSError as error:
            raise ConnectFailed(reason_of(error), where=address) from error
        except zmq.ZMQError as error:
            raise ConnectFailed(error.strerror, where=address) from error
        raise failures[0]

    @abstractmethod
    async def _to_bind(self, address: str) -> str:
        """The library's address to listen at. Raises AddressError, OSError."""

    @abstractmethod
    async def _to_dial(self, address: str) -> Sequence[str]:
        """The library's addresses to try, at least one. Raises AddressError, OSError."""

    @abstractmethod
    def _names(self, address: str, endpoint: str) -> tuple[str, str]:
        """What is bound, and what a peer should dial."""

    @abstractmethod
    def _caller(self, address: str, descriptor: int) -> str:
        """The address of who called. Raises OSError if he has gone."""


class ZeroMq(_Wire):
    """zmq://host:port, over TCP; a host of `*` listens on every interface, IPv6 too where there is one."""

    scheme = "zmq"

    async def _to_bind(self, address: str) -> str:
        wanted = Address.parse_as("zmq", address)
        return str(Address("tcp", str((await to_bind(wanted))[1][0]), wanted.port))

    async def _to_dial(self, address: str) -> list[str]:
        wanted = Address.parse_as("zmq", address)
        return [str(Address("tcp", str(where[0]), wanted.port)) for _, where in await to_dial(wanted)]

    def _names(self, address: str, endpoint: str) -> tuple[str, str]:
        wanted, bound = Address.parse_as("zmq", address), Address.parse(endpoint)
        named = replace(bound, scheme="zmq", host=wanted.host if wanted.is_wildcard else bound.host)
        return str(named), str(named.contact())

    def _caller(self, address: str, descriptor: int) -> str:
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            host, port = copy.getpeername()[:2]
        return str(Address("zmq", host.removeprefix("::ffff:"), port))


class ZeroMqIpc(_Wire):
    """zmq+ipc:///absolute/path of a unix socket; a last name of `*` makes one of its own in that folder."""

    scheme = "zmq+ipc"
    is_local = True

    async def _to_bind(self, address: str) -> str:
        path = _path(address)
        if path.name == "*":
            path = path.with_name(secrets.token_hex(4))
        if not is_ours(f"ipc://{path}"):
            _check_free(path)
        return f"ipc://{path}"

    async def _to_dial(self, address: str) -> list[str]:
        return [f"ipc://{_path(address)}"]

    def _names(self, address: str, endpoint: str) -> tuple[str, str]:
        return f"zmq+{endpoint}", f"zmq+{endpoint}"

    def _caller(self, address: str, descriptor: int) -> str:
        return f"{address}#{next(_callers)}"


def _path(address: str) -> Path:
    scheme, _, path = address.partition("://")
    if scheme != "zmq+ipc" or not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise AddressError("wanted zmq+ipc:///absolute/path", where=address)
    return Path(path)


def _check_free(path: Path) -> None:
    """The library removes whatever lies at a path that it listens at. Raises OSError if that is somebody's."""
    if path.exists() and not path.is_socket():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return  # a file whose listener was killed is in nobody's way
        except BlockingIOError:
            pass  # somebody has so much to do that he does not answer now
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


class _Call:
    """A DEALER on its way to a listener, and what carries the connection afterwards. Raises zmq.ZMQError."""

    def __init__(self, endpoint: str, address: str, max_frame_bytes: int) -> None:
        self._address = address
        self._max_frame_bytes = max_frame_bytes
        self._answered: asyncio.Future[ZmqConnection] = asyncio.get_running_loop().create_future()
        self._connection: ZmqConnection | None = None
        self._socket = LoopSocket(_dialing, zmq.DEALER, max_frame_bytes=max_frame_bytes, on_message=self._take, on_event=self._on_event)
        try:
            self._socket.connect(endpoint)
        except BaseException:
            self._socket.close()
            raise
        self._socket.put([HELLO])

    async def answer(self) -> ZmqConnection:
        """Wait until the listener has opened the connection.

        Raises:
            ConnectFailed: nobody is there, or he turned us away.
        """
        try:
            return await self._answered
        except BaseException:
            self._socket.close()
            raise

    def _take(self, parts: list[zmq.Frame]) -> None:
        if self._connection is not None:
            self._connection.take(parts)
            return
        answer = parts[0].bytes
        if answer[:KIND_BYTES] == OPENED and len(answer) > KIND_BYTES + WORD_BYTES and len(parts) == 1:
            self._open(answer[KIND_BYTES : KIND_BYTES + WORD_BYTES], answer[KIND_BYTES + WORD_BYTES :])
        else:
            self._fail("nobody listens here" if answer == GONE else "somebody answers who is no Sundog server")

    def _open(self, word: bytes, name: bytes) -> None:
        self._connection = ZmqConnection(
            self._put,
            self._socket.close,
            local=name.decode(errors="replace"),
            peer=self._address,
            max_frame_bytes=self._max_frame_bytes,
            waits_for_gone=True,
        )
        self._put([READY + word])
        if self._answered.done():  # cancelled in the same moment
            self._connection.abort()
        else:
            self._answered.set_result(self._connection)

    def _put(self, parts: Parts) -> None:
        if not self._socket.put(parts):
            self._socket.when_read(self._vanish)

    def _on_event(self, event: int, _: int) -> None:
        if event in (zmq.EVENT_CLOSED, zmq.EVENT_DISCONNECTED):
            self._socket.when_read(self._vanish)

    def _vanish(self) -> None:
        if self._connection is None:
            self._fail("refused, or the way there is closed")
        else:
            self._connection.vanish()

    def _fail(self, what: str) -> None:
        if not self._answered.done():
            self._answered.set_exception(ConnectFailed(what, where=self._address))
