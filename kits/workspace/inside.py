"""How is something of a workspace opened for a stranger, so that no path leads out of it or to a secret?

Each part of a path is opened relative to the descriptor of the one before it, and no link is followed: what is checked is
what is opened, whoever changes names meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...kernel.errors import AdminError
from . import posix
from .folders import PathRefused, Workspace, relative_path


class NoSuchFile(AdminError):
    """A participant has no such file or folder, or cannot read it.

    Cause: the path is misspelt, names a folder where a file is wanted, or the other way round; or its rights are missing.

    Cure: `ls TARGET` shows what there is; paths are relative to the workspace (`pwd TARGET`).
    """

    code = "SD-6008"


def is_secret(workspace: Workspace, found: os.stat_result) -> bool:
    """Whether a folder is startup/ or state/, by whatever name it was reached."""
    return any(os.path.samestat(found, secret.stat()) for secret in (workspace.startup, workspace.state) if secret.exists())


@contextmanager
def opened_folder(workspace: Workspace, path: str) -> Iterator[int]:
    """A descriptor of a folder of the workspace; `path` "" is the workspace itself.

    Raises:
        PathRefused: it leads out, over a link, or to startup/ or state/.
        NoSuchFile: it is not there, or no folder.
    """
    parts = relative_path(path).parts if path else ()
    descriptor = _descend(workspace, parts, path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_file(workspace: Workspace, path: str) -> Iterator[int]:
    """A descriptor of a plain file of the workspace, with one name only.

    Raises:
        PathRefused: as above; or it is a special file, or has several names.
        NoSuchFile: it is not there, or no file.
    """
    *folders, name = relative_path(path).parts
    folder = _descend(workspace, folders, path)
    try:
        descriptor = _open(folder, name, path)
    finally:
        os.close(folder)
    try:
        _refuse_special(os.fstat(descriptor), path)
        yield descriptor
    finally:
        os.close(descriptor)


def _descend(workspace: Workspace, parts: Sequence[str], path: str) -> int:
    here = posix.open_folder(workspace.root)
    for part in parts:
        try:
            below = _open(here, part, path, os.O_DIRECTORY)
        finally:
            os.close(here)
        if is_secret(workspace, os.fstat(below)):
            os.close(below)
            raise PathRefused("startup/ and state/ are shown to nobody", where=path)
        here = below
    return here


def _open(folder: int, name: str, path: str, flags: int = 0) -> int:
    try:
        return posix.open_in(folder, name, flags)
    except OSError as exc:
        found = _stat_of(folder, name)
        if exc.errno == errno.ELOOP or (found is not None and stat.S_ISLNK(found.st_mode)):
            raise PathRefused(f"{name} is a symbolic link", where=path) from exc
        raise NoSuchFile(exc.strerror or "it cannot be opened", where=path) from exc


def _stat_of(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _refuse_special(found: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise NoSuchFile("it is a folder", where=path)
    if not stat.S_ISREG(found.st_mode):
        raise PathRefused("wanted a plain file, got a special one", where=path)
    if found.st_nlink != 1:
        raise PathRefused("wanted a file with one name, got one that is elsewhere too", where=path)
