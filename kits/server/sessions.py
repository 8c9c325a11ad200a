"""Which admins are connected, since when, and how long has each been idle?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from ...transports.link import Link
from ..protocol.answers import SessionList, SessionRow


@dataclass(slots=True)
class _Activity:
    started: float
    last: float
    under_way: int = 0
    """Commands that are not answered yet."""


class Sessions:
    """The sessions of admins; one that loses its connection and comes back within minutes is the same one.

    Args:
        clock: gives seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: WeakKeyDictionary[Link, _Activity] = WeakKeyDictionary()

    def opened(self, link: Link) -> None:
        """An admin is connected."""
        now = self._clock()
        self._known.setdefault(link, _Activity(now, now))

    @contextmanager
    def active(self, link: Link) -> Iterator[None]:
        """An admin's command is under way."""
        activity = self._known[link]
        activity.last = self._clock()
        activity.under_way += 1
        try:
            yield
        finally:
            activity.under_way -= 1
            activity.last = self._clock()

    def listing(self) -> SessionList:
        """Those that are connected now, the oldest first."""
        now = self._clock()
        rows = [_row(link, activity, now) for link, activity in self._known.items() if link.is_up]
        return SessionList(sorted(rows, key=lambda row: (row.start_time, row.session_id)))


def _row(link: Link, activity: _Activity, now: float) -> SessionRow:
    idle = 0.0 if activity.under_way else max(0.0, now - activity.last)
    return SessionRow(link.peer.name, link.peer.instance, activity.started, activity.last, round(idle, 3))
