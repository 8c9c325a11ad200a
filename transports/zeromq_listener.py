"""How does a listener tell its peers apart on one ROUTER, and learn that one of them has gone?

A peer is known by the routing id that the library gives its connection, new for each, and no name of anybody. That a
connection has ended is told of its descriptor, a number that the next one may get. So whoever says HELLO is answered
with a word that he must repeat: then he lives now, and the descriptor is his.

The library cannot stop to listen without an end of all connections that came this way. So a closed listener's socket
stays until the last of them ends, and turns away who comes; who listens there again, in this process, goes on with it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import zmq

from ..kernel.transport import Connection, EndOfConnection, Listener
from .listener import BACKLOG
from .mailbox import Mailbox
from .zeromq_connection import GONE, ZmqConnection
from .zeromq_socket import LoopSocket, Parts, SharedContext

KIND_BYTES = 1
WORD_BYTES = 16
HELLO = b"H" + b"sundog 1"
"""The first message of a client; the number is that of this way to talk."""
OPENED = b"O"
"""The answer: a word, then as whom the listener sees the client."""
READY = b"R"
"""The client repeats the word."""
_MOST_BYTES = KIND_BYTES + WORD_BYTES
"""Longer is nothing that somebody says who is no peer yet."""

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Hub]] = WeakKeyDictionary()
"""What is bound, by the library's address, per loop."""


def is_ours(endpoint: str) -> bool:
    """Whether this loop has a socket that is bound there."""
    return endpoint in _hubs.get(asyncio.get_running_loop(), {})


def hub_at(endpoint: str, max_frame_bytes: int) -> Hub:
    """A socket bound at an address of the library: a new one, or one whose listener has closed.

    Raises:
        zmq.ZMQError: it cannot be bound.
        OSError: somebody in this process listens there, or left connections with another limit.
    """
    here = _hubs.setdefault(asyncio.get_running_loop(), {})
    known = here.get(endpoint)
    if known is None:
        return Hub(endpoint, here, max_frame_bytes)
    if known.listener is None and known.max_frame_bytes == max_frame_bytes:
        return known
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@dataclass(frozen=True, slots=True)
class _Guest:
    """Somebody who may become a peer."""

    word: bytes
    name: str
    owners: set[bytes]
    """All whose descriptor it may be that he speaks from."""


class Hub:
    """A bound ROUTER; it closes when neither its listener nor any connection needs it.

    Args:
        endpoint: where, as the library writes it.
        here: where it enters itself.
        max_frame_bytes: of each of its connections.
    """

    def __init__(self, endpoint: str, here: dict[str, Hub], max_frame_bytes: int) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.listener: ZmqListener | None = None
        self._here = here
        self._peers: dict[bytes, ZmqConnection] = {}
        self._guests: dict[bytes, _Guest] = {}
        """Who has been told a word, and has not repeated it yet."""
        self._on_descriptor: dict[int, set[bytes]] = {}
        """Open descriptor → whose it is; or whose it may be, before one has repeated his word."""
        # A context of its own: when it has ended, the address is free for sure.
        self._socket = LoopSocket(
            SharedContext(), zmq.ROUTER, max_frame_bytes=max_frame_bytes, on_message=self._take, on_event=self._on_event
        )
        try:
            self.endpoint = self._socket.bind(endpoint)
        except BaseException:
            self._socket.close()
            raise
        here[self.endpoint] = self

    def listen(self, address: str, contact: str, name_of: Callable[[str, int], str]) -> ZmqListener:
        """The listener; its connections' peers are named by `name_of(address, descriptor)`, which raises OSError for one that has gone."""
        self.listener = ZmqListener(self, address, contact, name_of)
        return self.listener

    def leave(self) -> None:
        """The listener has closed."""
        self.listener = None
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self.listener is None and not self._peers and not self._socket.is_closed:
            del self._here[self.endpoint]
            if self.endpoint.startswith("ipc://"):  # the library leaves it
                Path(self.endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
            self._socket.close()

    def _forget(self, who: bytes, owners: set[bytes]) -> None:
        """A connection has ended on this side: whatever still comes is nobody's."""
        del self._peers[who]
        owners.discard(who)
        self._socket.put([who, GONE])
        self._close_if_over()

    def _take(self, parts: list[zmq.Frame]) -> None:
        who, said = parts[0].bytes, parts[1:]
        peer = self._peers.get(who)
        if peer is not None and said:
            peer.take(said)
        elif len(said) == 1 and len(said[0]) <= _MOST_BYTES:
            self._meet(who, said[0].bytes, _descriptor_of(said[0]))

    def _meet(self, who: bytes, said: bytes, descriptor: int | None) -> None:
        """Who is no peer leaves nothing here unless he says what he must."""
        guest = self._guests.get(who)
        if said == HELLO and guest is None and descriptor is not None:
            self._greet(who, descriptor)
        elif guest is not None and said == READY + guest.word:
            self._open(who, guest)

    def _greet(self, who: bytes, descriptor: int) -> None:
        self._socket.read_events()
        owners = self._on_descriptor.get(descriptor)
        if owners is None:
            return  # he has gone already
        if self.listener is None or self.listener.is_crowded:
            self._socket.put([who, GONE])
            return
        try:
            name = self.listener.name_of(descriptor)
        except OSError:
            return  # he goes in this moment
        guest = self._guests[who] = _Guest(secrets.token_bytes(WORD_BYTES), name, owners)
        owners.add(who)
        self._socket.put([who, OPENED + guest.word + name.encode()])

    def _open(self, who: bytes, guest: _Guest) -> None:
        for one in guest.owners:  # the others had the descriptor before him
            self._guests.pop(one, None)
        guest.owners.intersection_update({who})
        if self.listener is None:
            self._socket.put([who, GONE])
            return
        self._peers[who] = connection = ZmqConnection(
            partial(self._put, who),
            partial(self._forget, who, guest.owners),
            local=self.listener.address,
            peer=guest.name,
            max_frame_bytes=self.max_frame_bytes,
            waits_for_gone=False,
        )
        self.listener.arrived.put(connection)

    def _put(self, who: bytes, parts: Parts) -> None:
        if not self._socket.put([who, *parts]):
            self._socket.when_read(partial(self._vanish, {who}))

    def _on_event(self, event: int, descriptor: int) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._on_descriptor[descriptor] = set()
        elif event == zmq.EVENT_DISCONNECTED:
            # What they said before may lie unread; the next on this descriptor is somebody else.
            self._socket.when_read(partial(self._vanish, self._on_descriptor.pop(descriptor, set())))

    def _vanish(self, owners: set[bytes]) -> None:
        for one in tuple(owners):
            self._guests.pop(one, None)
            if one in self._peers:
                self._peers[one].vanish()


def _descriptor_of(said: zmq.Frame) -> int | None:
    """Where it came in; None if by the library's first protocol, which nobody of ours speaks and which does not tell."""
    try:
        return int(said.get(zmq.SRCFD))
    except zmq.ZMQError:
        return None


class ZmqListener(Listener):
    """Accepts the connections that come in at a hub. Made by `Hub.listen`."""

    def __init__(self, hub: Hub, address: str, contact: str, name_of: Callable[[str, int], str]) -> None:
        self.address = address
        self.contact = contact
        self.arrived: Mailbox[ZmqConnection] = Mailbox(address)
        self._hub = hub
        self._name_of = name_of

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}: {self.arrived.state}, {len(self.arrived)} connections wait>"

    @property
    def is_crowded(self) -> bool:
        """Whether nobody else should come before some are accepted."""
        return len(self.arrived) >= BACKLOG

    def name_of(self, descriptor: int) -> str:
        """The address of who calls. Raises OSError if he has gone."""
        return self._name_of(self.address, descriptor)

    async def accept(self) -> Connection:
        return await self.arrived.get()

    async def close(self) -> None:
        if self.arrived.end is None:
            for connection in self.arrived.finish(EndOfConnection, "the listener has closed", drop=True):
                connection.abort()
            self._hub.leave()
