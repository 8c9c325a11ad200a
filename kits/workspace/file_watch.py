"""How does one hear that a file has grown, without looking again and again? The system's own call, as `posix` for the rest.

Linux has inotify, macOS kqueue; Python's standard library knows only the second.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_IS_LINUX = sys.platform == "linux"
# <sys/inotify.h>
_IN_NONBLOCK, _IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_IN_ONLYDIR, _IN_DONT_FOLLOW = 0x1000000, 0x2000000
_EVENTS_BYTES = 64 * 1024


class FileWatch:
    """Calls back, on the running loop, whenever a file in a folder may have come or grown, and perhaps for nothing, until `close`.

    Args:
        folder: must be there; a link is not followed.
        name: the file, which may come later.
        on_change: must be quick.

    Raises:
        OSError: there is no such folder, or the system has no more watches to give.
    """

    def __init__(self, folder: Path, name: str, on_change: Callable[[], object]) -> None:
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._watch = _Inotify(folder) if _IS_LINUX else _Kqueue(folder, name)
        self._loop.add_reader(self._watch.fileno(), self._ready)

    def close(self) -> None:
        """Call no more."""
        self._loop.remove_reader(self._watch.fileno())
        self._watch.close()

    def _ready(self) -> None:
        self._watch.drain()
        self._on_change()


class _Inotify:
    def __init__(self, folder: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _checked(library.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC), folder)
        mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_ONLYDIR | _IN_DONT_FOLLOW
        try:
            _checked(library.inotify_add_watch(self._descriptor, os.fsencode(folder), ctypes.c_uint32(mask)), folder)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        return self._descriptor

    def drain(self) -> None:
        os.read(self._descriptor, _EVENTS_BYTES)  # what is left makes it ready again

    def close(self) -> None:
        os.close(self._descriptor)


class _Kqueue:
    def __init__(self, folder: Path, name: str) -> None:
        self._kernel: Any = select  # its kqueue exists on macOS only
        self._queue = self._kernel.kqueue()
        self._file = folder / name
        self._open: dict[Path, int] = {}
        self._add(folder)
        self.drain()

    def fileno(self) -> int:
        return int(self._queue.fileno())

    def drain(self) -> None:
        self._queue.control([], 16, 0)
        if self._file not in self._open and self._file.exists():
            self._add(self._file)

    def close(self) -> None:
        self._queue.close()
        for descriptor in self._open.values():
            os.close(descriptor)

    def _add(self, path: Path) -> None:
        kernel = self._kernel
        descriptor = self._open[path] = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        flags, wanted = kernel.KQ_EV_ADD | kernel.KQ_EV_CLEAR, kernel.KQ_NOTE_WRITE | kernel.KQ_NOTE_EXTEND
        self._queue.control([kernel.kevent(descriptor, kernel.KQ_FILTER_VNODE, flags, wanted)], 0)


def _checked(result: int, folder: Path) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))
    return result
