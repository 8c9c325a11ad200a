"""How much memory of their own do a supervisor and its job process take, at most? Linux tells only how much now.

RssAnon leaves out pages of files: the page cache, which a system takes back when it needs to, is no growth.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Self

PERIOD_SECONDS = 0.005
"""Between two looks: a model of 100 MB is not read into memory and dropped in less."""


class PeakMemory:
    """Looks again and again, on a thread of its own, while the block runs: the kernel keeps no peak of RssAnon.

    Args:
        pids: supervisors; each counts together with its children.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self.peak_bytes = dict.fromkeys(pids, 0)
        """Supervisor's pid → the most that it and its children had at one time."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="memory")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(PERIOD_SECONDS):
            for pid, peak in self.peak_bytes.items():
                now = sum(memory_bytes(each, "RssAnon") for each in (pid, *_children(pid)))
                self.peak_bytes[pid] = max(peak, now)


def memory_bytes(pid: int, field: str) -> int:
    """VmRSS or RssAnon of a process; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def is_measurable() -> bool:
    """Whether this system tells it."""
    return Path("/proc/self/status").exists()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]
    return []
