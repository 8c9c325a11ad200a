"""How does Ctrl-C end a simulation in order, although supervisors and job code share one process?"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Self

from ...kernel.context import RunAborted
from ..supervisor.interrupts import SIGNALS

STRIKE = signal.SIGUSR2
"""The signal by which the supervisors' thread interrupts the main thread."""


class Interruption:
    """Within the block the first Ctrl-C, SIGTERM or SIGHUP has the job aborted; a second one raises KeyboardInterrupt at once.

    Job code that does not look at `ctx.abort` is sent RunAborted by `strike`, as SIGTERM does it in a job process. On another
    thread than the main one, where no signals come, it does nothing.

    Args:
        on_first: asks for the abort; called on the main thread, wherever that is.
    """

    def __init__(self, on_first: Callable[[], object]) -> None:
        self._on_first = on_first
        self._times = 0
        self._strikes: SimpleQueue[Callable[[], bool]] = SimpleQueue()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._on_signal)
            self._before[STRIKE] = signal.signal(STRIKE, self._on_strike)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it is what signal.signal gave
        self._before.clear()

    @property
    def has_come(self) -> bool:
        """Whether somebody has interrupted."""
        return self._times > 0

    def strike(self, is_hit: Callable[[], bool]) -> None:
        """Raise RunAborted on the main thread if `is_hit`, asked there, says that the job's code is at work; from another thread."""
        if self._before and (main := threading.main_thread().ident) is not None:
            self._strikes.put(is_hit)
            signal.pthread_kill(main, STRIKE)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._times += 1
        if self._times == 1:
            self._on_first()
        elif self._times == 2:
            raise KeyboardInterrupt

    def _on_strike(self, _number: int, _frame: FrameType | None) -> None:
        struck = []
        with suppress(Empty):  # several at a time may give one signal, and a handler may be interrupted by another one: never wait here
            while True:
                struck.append(self._strikes.get_nowait())
        if any(is_hit() for is_hit in struck):
            raise RunAborted("the job did not end when it was asked to")
