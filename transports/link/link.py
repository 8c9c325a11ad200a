"""What is a link: one identified peer, over connections that come and go."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from ...kernel.errors import LinkError, SundogError
from ...kernel.messages import MAX_LINK_FRAME_BYTES, Codec, Message, encode
from ...kernel.transport import Connection, Frame, FrameTooLarge
from .carrier import Carrier, ConnectionReplaced, PeerLeft, Traffic
from .hello import Peer
from .intake import Intake
from .messages import Bye, Chunk, Credit, Done, Get, LinkMessage, Ping, Pong, TransferFailed
from .timers import Timers
from .transfer import Transfers

_log = structlog.get_logger("sundog.link")


@functools.cache
def _codec_for(messages: Any) -> Codec:
    return Codec(LinkMessage | messages)


class LinkClosed(LinkError):
    """The link was closed for good while something waited for it.

    Cause: this program is ending, or the peer came back as a new instance.

    Cure: nothing to mend: what was not finished is asked for again over the new link.
    """

    code = "SD-2115"


class LinkStopped(LinkError):
    """The task that carried the link was cancelled.

    Cause: this program is ending.

    Cure: nothing to mend.
    """

    code = "SD-2116"


class BrokenHandler(LinkError):
    """A message of a peer made this side fail; that peer was dropped.

    Cause: a mistake in this program; the trace is in the log.

    Cure: report it with the lines around it in log.txt.
    """

    code = "SD-2117"


class Handler(Protocol):
    """Who owns links. Every call is made on the event loop and must be quick."""

    understands: Any
    """The messages it understands, a union of Message classes; a peer that says anything else is dropped."""

    def link_up(self, link: Link) -> None:
        """HELLO is through; say Sync now. Nothing that was said before is remembered. What it raises drops the connection."""

    def message(self, link: Link, message: Message, body: memoryview) -> None:
        """A message that is not the link's own business. A SundogError raised here drops this peer's connection."""

    def link_down(self, link: Link, reason: str) -> None:
        """The connection is over; the link waits for the next one."""


class Link:
    """One identified peer over successive connections. Made by a Dialer or an Acceptor.

    Delivers in order and at most once while a connection lives; it resends nothing. Blob transfers alone survive
    the loss of a connection.

    Args:
        peer: who the other end is; at a dialer it changes with the server.
        handler: whom to tell.
        intake: where received blobs go.
        timers: every wait.
        is_dialer: this end's transfers have odd numbers if so, else even ones.
    """

    def __init__(self, peer: Peer, handler: Handler, intake: Intake, *, timers: Timers, is_dialer: bool) -> None:
        self.peer = peer
        self.term = 0
        """The server's term, as said in the last HELLO_OK."""
        self.grant = b""
        """What proves the term; empty on a clear link."""
        self.traffic = Traffic()
        self.transfers = Transfers(self, intake, timers, is_dialer=is_dialer)
        self._handler = handler
        self._codec = _codec_for(handler.understands)
        self._timers = timers
        self._carrier: Carrier | None = None
        self._up = asyncio.Event()
        self._is_closed = False
        self._own: dict[type[Message], Callable[[Any, memoryview], None]] = {
            Ping: lambda ping, _: self.send(Pong(ping.number)),
            Pong: lambda _, __: None,
            Bye: self._on_bye,
            Get: self.transfers.on_get,
            Chunk: self.transfers.on_chunk,
            Credit: self.transfers.on_credit,
            Done: self.transfers.on_done,
            TransferFailed: self.transfers.on_failed,
        }

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "up" if self.is_up else "down"
        return f"<Link to {self.peer} ({self.peer.instance}): {state}, {self.transfers!r}>"

    @property
    def is_up(self) -> bool:
        """Whether what is sent now has a connection to go over."""
        return self._carrier is not None

    @property
    def silent_seconds(self) -> float:
        """How long ago the last frame came; 0 while the link is down."""
        return self._carrier.silent_seconds if self._carrier is not None else 0.0

    @property
    def is_closed(self) -> bool:
        """Whether it will never be up again."""
        return self._is_closed

    def send(self, message: Message, *body: Frame) -> None:
        """Send as soon as the messages before it are gone; while the link is down it is dropped.

        Raises:
            FrameTooLarge: more than MAX_LINK_FRAME_BYTES; a payload of that size must be a blob of its own.
        """
        if self._carrier is not None:
            header = encode(message)
            size = len(header) + sum(map(len, body))
            if size > MAX_LINK_FRAME_BYTES:
                raise FrameTooLarge(f"wanted at most {MAX_LINK_FRAME_BYTES:,} bytes, got {size:,} in {type(message).__name__}")
            self._carrier.post(header, *body)

    async def is_alive(self, seconds: float) -> bool:
        """Whether the peer gives a sign of life within so many seconds of being asked."""
        return self._carrier is not None and await self._carrier.is_heard(seconds)

    @property
    def carrier(self) -> Carrier:
        """The connection in use; for what belongs to the link.

        Raises:
            LinkClosed: there is none.
        """
        if self._carrier is None:
            raise LinkClosed(f"the link to {self.peer} is down")
        return self._carrier

    async def wait_up(self) -> None:
        """Wait until there is a connection.

        Raises:
            LinkClosed: there will be none.
        """
        while not self._is_closed:
            if self._carrier is not None:
                return
            await self._up.wait()
        raise LinkClosed(f"the link to {self.peer} was closed")

    async def serve(self, connection: Connection, *opening: Frame) -> SundogError:
        """Use a connection until it ends, in place of the one in use; what ended it.

        Args:
            connection: HELLO has come (or was answered) on it; owned from now on.
            opening: a frame to send before all others.
        """
        self.drop(ConnectionReplaced("a new connection of the same peer took its place", where=connection.peer))
        carrier = Carrier(connection, self._timers, self.traffic, on_frame=self._take, on_tick=self.transfers.tick)
        if opening:
            carrier.post(*opening)
        self._carrier = carrier
        self._up.set()
        _log.info("link up", peer=str(self.peer), instance=self.peer.instance, address=connection.peer)
        ended: SundogError = LinkStopped("the link was stopped", where=connection.peer)
        try:
            self._handler.link_up(self)
            ended = await carrier.run()
        except Exception as error:  # noqa: BLE001  # neither a server's other links nor a site's next attempt may end with this one
            ended = self._blamed(error, "link_up")
        finally:
            carrier.drop(ended)
            if self._carrier is carrier:
                self._go_down(ended)
        return ended

    def drop(self, why: SundogError) -> None:
        """Give up the connection at once; the link is down when this returns. Nothing happens when it was down."""
        if self._carrier is not None:
            self._carrier.drop(why)
            self._go_down(why)

    def end(self, reason: str) -> None:
        """The link will not be up again: fetches that wait raise LinkClosed. A connection in use goes on until `close`."""
        self._is_closed = True
        self.transfers.close(LinkClosed(f"the link to {self.peer} was closed: {reason}"))
        self._up.set()

    async def close(self, reason: str) -> None:
        """Say goodbye, then end for good. Twice is fine."""
        self.end(reason)
        if self._carrier is not None:
            await self._carrier.leave(encode(Bye(reason)))

    def _take(self, frame: Frame) -> None:
        message: Message | None = None
        try:
            message, body = self._codec.decode(frame)
            own = self._own.get(type(message))
            if own is not None:
                own(message, body)
            else:
                self._handler.message(self, message, body)
        except SundogError:
            raise
        except Exception as error:  # what one peer says must never end the program for the others
            raise self._blamed(error, type(message).__name__) from error

    def _blamed(self, error: Exception, what: str) -> SundogError:
        """What to end the connection with; a mistake of this program's own is logged with its trace."""
        if isinstance(error, SundogError):
            return error
        _log.error("the handler of a link failed", peer=str(self.peer), at=what, exc_info=error)
        return BrokenHandler(f"{what} from {self.peer}: {error!r}")

    def _on_bye(self, bye: Bye, _: memoryview) -> None:
        raise PeerLeft(bye.reason)

    def _go_down(self, why: SundogError) -> None:
        self._carrier = None
        self._up.clear()
        self.transfers.lose()
        _log.info("link down", peer=str(self.peer), instance=self.peer.instance, code=why.code, reason=str(why))
        try:
            self._handler.link_down(self, str(why))
        except Exception as error:  # noqa: BLE001  # likewise; whoever dropped it goes on
            self._blamed(error, "link_down")
