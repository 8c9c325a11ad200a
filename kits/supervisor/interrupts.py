"""How does a program that started others end in order, at whatever moment it is interrupted?"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Ctrl-C, SIGTERM and SIGHUP wait for a place where they are allowed; there the first one raises KeyboardInterrupt, no later one does.

    So what is begun is kept track of, and what is undone on the way out is undone to its end. For the main thread.
    """

    def __init__(self) -> None:
        self._has_come = False
        self._is_raised = False
        self._allowed = 0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it is what signal.signal gave

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Here one may be raised, at once if it has come before: around what waits, and keeps nothing that must be undone."""
        self._allowed += 1
        try:
            self._raise_once()
            yield
        finally:
            self._allowed -= 1

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._has_come = True
        self._raise_once()

    def _raise_once(self) -> None:
        if self._has_come and self._allowed and not self._is_raised:
            self._is_raised = True
            raise KeyboardInterrupt
