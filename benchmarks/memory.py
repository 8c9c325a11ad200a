"""Peak memory of processes, sampled: Linux reports how much it is now, and keeps no peak of these two.

Private memory (RssAnon) leaves out pages of files: the page cache, which a system takes back when it needs to, is no growth.
Proportional memory (PSS) counts a page that several processes share once; the sum over a tree is what the tree takes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

PRIVATE_PERIOD_SECONDS = 0.005
"""Between two samples: a model of 100 MB is not read into memory and dropped in less."""
PROPORTIONAL_PERIOD_SECONDS = 0.1
"""The system walks all pages of a process for one sample."""


def private_bytes(pid: int) -> int:
    """RssAnon of a process and its descendants."""
    return sum(memory_bytes(each, "RssAnon") for each in _tree(pid))


def proportional_bytes(pid: int) -> int:
    """PSS of a process and its descendants."""
    return sum(memory_bytes(each, "Pss", "smaps_rollup") for each in _tree(pid))


class PeakMemory:
    """Samples on a thread of its own while the block runs.

    Args:
        pids: processes; each counts together with its descendants.
        measure: bytes of a process, now.
        period_seconds: between two samples.
    """

    def __init__(
        self, pids: Iterable[int], measure: Callable[[int], int] = private_bytes, period_seconds: float = PRIVATE_PERIOD_SECONDS
    ) -> None:
        self.peak_bytes = dict.fromkeys(pids, 0)
        """Process → the most that it and its descendants had at one time."""
        self._measure = measure
        self._period_seconds = period_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(self._period_seconds):
            for pid, peak in self.peak_bytes.items():
                self.peak_bytes[pid] = max(peak, self._measure(pid))


def memory_bytes(pid: int, field: str, file: str = "status") -> int:
    """A field of a process's file in /proc, such as VmRSS; 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def is_measurable() -> bool:
    """Whether this system has /proc."""
    return Path("/proc/self/status").exists()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
            yield from _tree(int(child))
