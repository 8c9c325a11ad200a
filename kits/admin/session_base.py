"""How does a session live: its connection, its thread, its end? What the commands of a Session stand on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import msgspec

from ...transports.link import Timers
from ..protocol.requests import Request
from ..workspace.kit import AdminKit, read_kit
from ..workspace.log import keep_quiet
from .connection import AdminConnection, SessionClosed
from .exchange import Exchange
from .loop_thread import LoopThread

Answer = TypeVar("Answer", bound=msgspec.Struct)
P = ParamSpec("P")
T = TypeVar("T")


class SessionBase:
    """A session without commands; see `Session`."""

    def __init__(self, kit: str | Path, *, timeout: float = 30.0, thread: LoopThread | None = None, timers: Timers | None = None) -> None:
        keep_quiet()
        self.folder = Path(kit).expanduser().absolute()
        self.kit, self.notes = read_kit(self.folder, AdminKit)
        self._timeout = timeout
        self._is_closed = False
        self._has_own_thread = thread is None
        self._thread = thread or LoopThread()
        self._connection = AdminConnection(self.kit, away_seconds=timeout, timers=timers)
        self._thread.call(self._connection.start())
        self._exchange = Exchange(self._connection)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "up" if self._connection.link.is_up else "down"
        return f"<Session of {self.kit.name} at {', '.join(self.kit.endpoints)}: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    @property
    def connection(self) -> AdminConnection:
        """What carries the commands: whether it is up, and the token of this session."""
        return self._connection

    def close(self) -> None:
        """Say goodbye to the server; commands that still wait raise SessionClosed. Twice is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        self._thread.call(self._connection.close())
        if self._has_own_thread:
            self._thread.close()

    # --- asking -------------------------------------------------------------------------------------------------

    def _ask(self, request: Request, answer: type[Answer], seconds: float | None) -> Answer:
        return self._call(self._connection.ask, request, answer, seconds)

    def _call(self, act: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._open():
            return self._thread.call(act(*args, **kwargs))

    @contextmanager
    def _open(self) -> Iterator[None]:
        if self._is_closed:
            raise SessionClosed("the session is closed")
        try:
            yield
        except CancelledError:
            raise SessionClosed("the session was closed before the answer came") from None


class Deadline:
    """A moment some seconds from now, or never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds until then, 0 if it has passed; None: never."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return self.left == 0.0
