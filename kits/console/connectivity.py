"""What is told of the connection: who answers when the console opens, and later that it was lost or is back?"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from ...kernel.errors import SundogError
from ...kernel.wording import printable
from ...transports.address import place_of
from ..admin.connection import News, NotSent, OutcomeUnknown
from ..admin.session import Session
from ..commands.status import ServerStatus

Say = Callable[[str], object]
SILENT_SECONDS = 5.0
"""After so long without a word from the server it is said that there is none."""
HINT = "Type ? for the commands, ? cmdName for the usage of one; bye leaves."


def greet(session: Session, say: Say) -> None:
    """Wait for the server, however long it takes, and say who it is. An interrupt ends the wait."""
    endpoints = ", ".join(session.kit.endpoints)
    say(f"Waiting for token: dialling {endpoints} …")
    news: SimpleQueue[News] = SimpleQueue()
    session.connection.on_news = news.put
    told = ""
    while not session.connection.link.is_up:
        try:
            error = news.get(timeout=SILENT_SECONDS).error
        except Empty:
            error = None if told else NotSent(f"no server answers at {endpoints} yet")
        if error is not None and error.code != told:
            told = error.code
            say(f"{_words(error)}\n  It is tried again and again; Ctrl-C gives up.")
    _introduce(session, say)


def _introduce(session: Session, say: Say) -> None:
    try:
        status = session.check_status("server")
    except (NotSent, OutcomeUnknown) as exc:  # it was lost again at once
        say(_words(exc))
    else:
        say(primary(session.connection.link.peer.name, status))
        say(f"login_result: OK token: {session.connection.token}")
    say(HINT)


def primary(address: str, status: ServerStatus) -> str:
    """The server that serves, as host:fl_port:admin_port, and its SSID."""
    host, admin_port = place_of(address)
    end_point = f"{host}:{status.fl_port}:{admin_port}"
    return printable(f"primary SP {end_point} SSID: {status.service_session_id}\n  Host: {host} Admin_port: {admin_port}", keep="\n")


class Lookout:
    """Says when the server is lost and when it is back. While a command is done it keeps that for later.

    Args:
        session: whose connection.
        say: called on any thread.
    """

    def __init__(self, session: Session, say: Say) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._kept: list[str] | None = []
        self._was_up = session.connection.link.is_up
        session.connection.on_news = self._heard

    def open(self) -> None:
        """Say what was kept, and from now on everything at once."""
        with self._lock:
            kept, self._kept = self._kept or [], None
        for words in kept:
            self._say(words)

    def hold(self) -> None:
        """Keep from now on what is to be said."""
        with self._lock:
            self._kept = self._kept or []

    def _heard(self, news: News) -> None:
        if news.is_up == self._was_up:
            return
        self._was_up = news.is_up
        place = printable(news.what)
        words = f"connected again: {place}" if news.is_up else f"the server is gone ({place}); it is dialled again until it is back"
        with self._lock:
            if self._kept is not None:
                self._kept.append(words)
                return
        self._say(words)


def _words(error: SundogError) -> str:
    return printable(f"[{error.code}] {error.what}" + (f"\n  cure:  {error.cure}" if error.cure else ""), keep="\n")
