"""What do we ask of the operating system that Python's own interface does not hide? Linux and macOS differ only here."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Container
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ...kernel.errors import DaemonError

RUN_VARIABLE = "SUNDOG_RUN"
"""Every process of a run carries its id in this environment variable, so that none can be overlooked."""

_IS_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36


class WorkspaceInUse(DaemonError):
    """Another process works in this folder.

    Cause: this participant was started a second time.

    Cure: stop the process named in the message, or leave it running. The lock is the system's: it goes with its process,
    however that ends, and there is no file to delete.
    """

    code = "SD-5003"


_held: set[int] = set()
"""The descriptors of the locks that this process holds."""


def _drop_inherited() -> None:
    """In a forked child: the lock is its parent's, and must be free when that has ended, whatever becomes of the child."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_drop_inherited)


class WorkspaceLock:
    """Keeps a second process out of a workspace.

    The system drops it when the process that holds it ends, even by kill -9. The file stays; the pid in it is only for
    the message. Children do not inherit it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock, or say at once who has it.

        Raises:
            WorkspaceInUse: another process, or another lock in this one, has it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            pid = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise WorkspaceInUse(f"process {pid} is at work here", where=str(self._path.parent.parent)) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        _held.add(descriptor)

    def release(self) -> None:
        """Give it back; twice is fine."""
        if self._descriptor in _held:
            _held.remove(self._descriptor)
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def lock_holder(path: Path) -> int:
    """The pid of the process that has the workspace of this lock; 0 when nobody works there.

    Raises:
        WorkspaceInUse: it has only just taken it, and not said yet who it is.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        pid = os.pread(descriptor, 20, 0).strip()
        if not pid.isdigit():
            raise WorkspaceInUse("a process is just starting here", where=str(path.parent.parent)) from exc
        return int(pid)
    finally:
        os.close(descriptor)
    return 0


# --- processes ------------------------------------------------------------------------------------------------------


def die_with_parent(parent_pid: int) -> None:
    """Called by a child at its start: from now on it is killed when its parent ends; at once if that is gone already.

    The signal comes when the parent's *thread* that started the child ends. On macOS there is no such signal; there the
    end of file on the channel to the parent says it.
    """
    if _IS_LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise SystemExit(f"process {parent_pid}, which started this one, is gone")


def become_subreaper() -> None:
    """Inherit the orphans of our children instead of losing them to init (Linux; elsewhere nothing happens)."""
    if _IS_LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def watch_children() -> None:
    """Let asyncio learn of a child's end from the kernel (Linux): Python 3.11 would otherwise wait with a thread a child."""
    if sys.platform == "linux" and sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


def processes_of_run(run_id: str) -> list[int]:
    """Pids of all live processes but this one that carry the run's id in their environment, ascending."""
    mark = f"{RUN_VARIABLE}={run_id}"
    found = _linux_marked(mark) if _IS_LINUX else _ps_marked(mark)
    return sorted(pid for pid in found if pid != os.getpid())


def signal_process(pid: int, number: signal.Signals) -> None:
    """Signal one process; nothing happens if it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def wait_for_pid_end(pid: int, deadline_seconds: float | None = None) -> None:
    """Wait until a process has ended (its parent may still have to reap it).

    Raises:
        TimeoutError: it still runs after the deadline.
    """
    try:
        watch = _exit_descriptor(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(watch.fileno(), ended.set)
    try:
        async with asyncio.timeout(deadline_seconds):
            await ended.wait()
    finally:
        loop.remove_reader(watch.fileno())
        watch.close()


def reap_adopted(own: Container[int]) -> list[int]:
    """Bury the zombies among our children that nobody else waits for: orphans that a subreaper inherited.

    Args:
        own: pids whose exit status somebody still wants (asyncio's, subprocess's).
    """
    buried = []
    for pid in _zombie_children() if _IS_LINUX else ():
        if pid not in own:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
                buried.append(pid)
    return buried


def thread_environment(threads: int) -> dict[str, str]:
    """Environment variables that hold numeric libraries to a number of threads: sums depend on it, bit for bit."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


# --- files ----------------------------------------------------------------------------------------------------------


def open_folder(path: Path) -> int:
    """A descriptor of a folder that is no link; names are opened relative to it."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def open_in(folder: int, name: str, flags: int = 0) -> int:
    """A descriptor, for reading, of a name in an open folder; a link is refused (OSError), a pipe does not block."""
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, dir_fd=folder)


def read_plain(path: Path, most_bytes: int) -> bytes:
    """The content of a plain file, which other code may have replaced; it cannot block.

    Raises:
        OSError: it is not there, or a link.
        ValueError: it is a special file, or longer than `most_bytes`.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("wanted a plain file, got a special one")
        if found.st_size > most_bytes:
            raise ValueError(f"wanted at most {most_bytes} bytes, got {found.st_size}")
        return file.read(most_bytes)


def open_to_append(folder: int, name: str) -> int:
    """A descriptor, for appending, of a plain file in an open folder, made when it is missing.

    A link, a pipe or a file with a second name is replaced; what it leads to is neither opened nor changed.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    except OSError as exc:
        if exc.errno not in (errno.ELOOP, errno.ENXIO):  # a link; a pipe that has no reader
            raise
    else:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            return descriptor
        os.close(descriptor)
    os.unlink(name, dir_fd=folder)
    return os.open(name, flags | os.O_EXCL, 0o600, dir_fd=folder)


# --- how each system says it ----------------------------------------------------------------------------------------


class _Descriptor:
    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        os.close(self._number)


def _exit_descriptor(pid: int) -> Any:
    """Something with fileno() that becomes readable when the process ends."""
    if sys.platform == "linux":
        return _Descriptor(os.pidfd_open(pid))
    return _kqueue_of(pid)  # type: ignore[unreachable, unused-ignore]  # mypy looks at one platform a time


def _kqueue_of(pid: int) -> Any:
    kernel: Any = select  # its kqueue exists on macOS only
    queue = kernel.kqueue()
    event = kernel.kevent(pid, kernel.KQ_FILTER_PROC, kernel.KQ_EV_ADD | kernel.KQ_EV_ONESHOT, kernel.KQ_NOTE_EXIT)
    queue.control([event], 0)
    return queue


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl")


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208  # ten times as fast as iterdir


def _linux_marked(mark: str) -> list[int]:
    wanted, found = mark.encode(), []
    for pid in _pids():
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def _ps_marked(mark: str) -> list[int]:
    lines = subprocess.run(["/bin/ps", "-Aww", "-E", "-o", "pid=,command="], capture_output=True, text=True, check=True).stdout
    return [int(words[0]) for words in map(str.split, lines.splitlines()) if mark in words[1:]]


def _zombie_children() -> list[int]:
    me, found = os.getpid(), []
    for pid in _pids():
        with contextlib.suppress(OSError):
            # pid (name) state parent …; the name may hold anything, so read from its last bracket
            state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == me:
                found.append(pid)
    return found
