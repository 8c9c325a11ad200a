"""How do a participant and the program that started it hear of each other? Over a pair of sockets that both outlive.

The participant says `ready` and where it is found. The starter says `stay` if the participant shall outlive it. When the
line ends without that word the starter is gone, however it went, and the participant ends in order.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

_READY = b"ready "
_REFUSED = b"refused "
_STAY = b"stay\n"


class Lifeline:
    """The participant's end.

    Args:
        descriptor: of an inherited socket.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)
        self._heard = b""
        self._is_refused = False

    def tell_ready(self, where: str) -> None:
        """Say that this participant works, and where it is found."""
        self._tell(_READY, where)

    def tell_refused(self, why: str) -> None:
        """Say, once, that the server refuses this participant for good."""
        if not self._is_refused:
            self._is_refused = True
            self._tell(_REFUSED, why)

    def _tell(self, what: bytes, words: str) -> None:
        try:
            self._socket.send(what + " ".join(words.split()).encode() + b"\n")  # a short line: a new socket takes it whole
        except OSError:
            return  # the starter is gone: `watch` tells

    def watch(self, on_loss: Callable[[], object]) -> None:
        """Call this once when the starter is gone; not if it has said that we stay. Needs a running event loop."""
        asyncio.get_running_loop().add_reader(self._socket, self._hear, on_loss)

    def _hear(self, on_loss: Callable[[], object]) -> None:
        try:
            heard = self._socket.recv(len(_STAY))
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        self._heard += heard
        if heard and self._heard != _STAY:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        if self._heard != _STAY:
            on_loss()


class Starter:
    """The starter's end, and the other one until it is handed on."""

    def __init__(self) -> None:
        self._socket, self._theirs = socket.socketpair()
        self._said = b""

    @property
    def theirs(self) -> int:
        """The descriptor for the participant to inherit."""
        return self._theirs.fileno()

    def hand_over(self) -> None:
        """The participant has its end now."""
        self._theirs.close()

    def wait_ready(self, seconds: float) -> str | None:
        """Wait until the participant is ready; where it is found, or None when it ended first.

        Raises:
            TimeoutError: it did neither in time.
        """
        self._socket.settimeout(seconds)
        line = self._line()
        return line.removeprefix(_READY).decode() if line is not None else None

    def refusal(self) -> str:
        """Why the server refuses the participant for good; empty when it has ended instead. Call it when `fileno` is readable."""
        line = self._line()
        return line.removeprefix(_REFUSED).decode() if line is not None else ""

    def _line(self) -> bytes | None:
        while b"\n" not in self._said:
            heard = self._socket.recv(4096)
            if not heard:
                return None
            self._said += heard
        line, _, self._said = self._said.partition(b"\n")
        return line

    @property
    def has_said_more(self) -> bool:
        """Whether a line is here that was not asked for yet."""
        return b"\n" in self._said

    def fileno(self) -> int:
        """Becomes readable when the participant has ended, or is refused."""
        return self._socket.fileno()

    def stay(self) -> None:
        """Let the participant outlive us."""
        self._socket.sendall(_STAY)
        self.close()

    def close(self) -> None:
        """Let go; unless it is to stay, the participant ends. Twice is fine."""
        self._socket.close()
        self._theirs.close()
