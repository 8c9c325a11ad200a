"""Taking a file that a job process wrote, without trusting the job (PROTOCOL §4)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from ...kernel.errors import DaemonError
from ..workspace.disk import Disk
from ..workspace.posix import open_folder, open_in


class HandoverRefused(DaemonError):
    """A job process handed over something that is not a plain file of its own.

    Cause: the job's code, or the job process, put a link, a pipe, another user's file or one of another size in out/.

    Cure: run the job with `sundog simulate`; if the job is not at fault, report it: a supervisor never takes such a file.
    """

    code = "SD-5011"


def take(disk: Disk, folder: Path | int, name: str, destination: Path, *, uid: int, size_bytes: int) -> None:
    """Move a file out of a job's folder by one rename, its bytes neither read nor mapped; to another file system it is copied.

    Args:
        disk: does it.
        folder: the job's out/, or an open descriptor of it.
        name: a name in that folder, without a slash.
        destination: where it goes; what lies there is replaced.
        uid: the user the job runs as.
        size_bytes: what the job said of it.

    Raises:
        HandoverRefused: no such file, not a regular one, a second link to it, another owner or size, or it was exchanged meanwhile.
    """
    if "/" in name or name in ("", ".", ".."):
        raise HandoverRefused(f"wanted a name in the folder, got {name!r}")
    if isinstance(folder, int):
        _take(disk, folder, name, destination, (uid, size_bytes))
        return
    try:
        descriptor = open_folder(folder)
    except OSError as exc:
        raise HandoverRefused(f"no folder to take from: {exc.strerror}", where=str(folder)) from exc
    try:
        _take(disk, descriptor, name, destination, (uid, size_bytes))
    finally:
        os.close(descriptor)


def _take(disk: Disk, folder: int, name: str, destination: Path, wanted: tuple[int, int]) -> None:
    try:
        descriptor = open_in(folder, name)
    except OSError as exc:
        raise HandoverRefused(f"it cannot be opened: {exc.strerror}", where=name) from exc
    try:
        found = os.fstat(descriptor)
        _check(found, wanted, name)
        try:
            disk.rename(name, destination, folder=folder)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            _copy(disk, descriptor, destination, found.st_size)
            with contextlib.suppress(OSError):  # whatever has the name by now is the job's own, and out/ is emptied at each launch
                os.unlink(name, dir_fd=folder)
            return
        moved = destination.lstat()
        if (moved.st_dev, moved.st_ino) != (found.st_dev, found.st_ino):
            disk.unlink(destination)
            raise HandoverRefused("it was exchanged for another while it was taken", where=name)
    finally:
        os.close(descriptor)


def _copy(disk: Disk, descriptor: int, destination: Path, size_bytes: int) -> None:
    """Copy the very file that was checked: by its descriptor, so that nothing can be exchanged meanwhile."""
    copied = disk.copy(descriptor, destination, size_bytes)
    if copied != size_bytes:
        disk.unlink(destination)
        raise HandoverRefused(f"it had {size_bytes} bytes, and {copied} while it was taken", where=destination.name)


def _check(found: os.stat_result, wanted: tuple[int, int], name: str) -> None:
    uid, size_bytes = wanted
    if not stat.S_ISREG(found.st_mode):
        raise HandoverRefused("wanted a regular file", where=name)
    if found.st_nlink != 1:
        raise HandoverRefused(f"wanted a file with one link, got {found.st_nlink}", where=name)
    if found.st_uid != uid:
        raise HandoverRefused(f"wanted a file of user {uid}, got one of user {found.st_uid}", where=name)
    if found.st_size != size_bytes:
        raise HandoverRefused(f"wanted {size_bytes} bytes as the job said, got {found.st_size}", where=name)
