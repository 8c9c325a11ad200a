"""The file operations on which durability rests, in one object that a test can replace: to cut the power, or to fill the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_COPY_BYTES = 1024 * 1024
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK
"""Open a file that is not there yet: what job code put in its place is neither followed nor waited for."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Disk:
    """What supervisors do to files. Stateless: one serves any number of participants, on any thread.

    A file is written under the name of a draft, then renamed: a pipe or a link that job code made in its place is replaced,
    never opened. Drafts have random names that begin with a dot and end in `.draft`; a crash may leave one behind, and
    nothing refers to it.
    """

    # --- whole files ----------------------------------------------------------------------------------------------

    def atomic_write(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        """Put a file in place, whole or not at all; only with `durable` it also survives a power cut."""
        with self._draft_of(path) as draft:
            descriptor = os.open(draft, _NEW_FILE, 0o600)
            try:
                self.append(descriptor, data)
                if durable:
                    self.sync(descriptor)
            finally:
                os.close(descriptor)
            self.rename(draft, path)
        if durable:
            self.sync_file(path.parent)

    def copy(self, source: int, target: Path, size_bytes: int) -> int:
        """Copy the first bytes of an open file; synced, then renamed into place. Returns how many there were, at most `size_bytes`."""
        with self._draft_of(target) as draft:
            descriptor = os.open(draft, _NEW_FILE, 0o600)
            try:
                size = 0
                while piece := os.pread(source, min(_COPY_BYTES, size_bytes - size), size):
                    self.append(descriptor, piece)
                    size += len(piece)
                self.sync(descriptor)
            finally:
                os.close(descriptor)
            self.rename(draft, target)
        return size

    # --- open files -----------------------------------------------------------------------------------------------

    def open_to_append(self, path: Path) -> int:
        """A descriptor of a file, made if missing, that is only ever appended to."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)

    def append(self, descriptor: int, data: bytes) -> None:
        """Write all of it; when it raises, some of it may be written."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        """Cut an open file."""
        os.ftruncate(descriptor, size_bytes)

    def sync(self, descriptor: int) -> None:
        """Make what was written to an open file survive a power cut. Never tried again after an error."""
        os.fsync(descriptor)

    def sync_file(self, path: Path) -> None:
        """Make the bytes of a file, or the names in a folder, survive a power cut."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    # --- names ----------------------------------------------------------------------------------------------------

    def rename(self, source: Path | str, target: Path, *, folder: int | None = None) -> None:
        """Move a file, or a folder, in the place of what is there; `source` may be a name in an open folder.

        Raises:
            OSError: EXDEV for another file system, among others.
        """
        os.rename(source, target, src_dir_fd=folder)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, in the place of what has it; on another file system it is copied."""
        self.unlink(target)
        try:
            os.link(source, target)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                self.copy(descriptor, target, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)

    def unlink(self, path: Path) -> None:
        """Remove a file; nothing happens if it is not there."""
        path.unlink(missing_ok=True)

    def rmtree(self, folder: Path) -> None:
        """Remove a folder with all in it, at any depth, as far as that is possible. No link is followed; one in its place stays."""
        try:
            folder.rmdir()  # most are empty, and this is one call
        except FileNotFoundError:
            return
        except OSError:
            with contextlib.suppress(OSError):
                _remove_filled(folder)

    @contextlib.contextmanager
    def _draft_of(self, path: Path) -> Iterator[Path]:
        """A name beside a file; whatever ends the block early, an interrupt too, leaves no draft behind."""
        draft = path.with_name(f".{secrets.token_hex(16)}.draft")
        try:
            yield draft
        except BaseException:
            self.unlink(draft)
            raise


def _remove_filled(folder: Path) -> None:
    """Remove a folder level by level, with two descriptors at most.

    Job code can nest folders deeper than a path is long, than Python recurses and than a process may open descriptors: what
    lies deeper is moved up to the top before it is emptied.
    """
    top = os.open(folder, _FOLDER)
    try:
        waiting = _clear(top, top)
        while waiting:
            name = waiting.pop()
            with contextlib.suppress(OSError):
                waiting += _clear_inner(name, top)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    folder.rmdir()


def _clear_inner(name: str, top: int) -> list[str]:
    inner = os.open(name, _FOLDER, dir_fd=top)
    try:
        return _clear(inner, top)
    finally:
        os.close(inner)


def _clear(folder: int, top: int) -> list[str]:
    """Remove the files and the empty folders in an open folder; move the others to the top. Returns their names there."""
    moved = []
    with os.scandir(folder) as found:
        entries = list(found)
        for entry in entries:
            with contextlib.suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=folder)
                elif not _is_removed(entry.name, folder):
                    name = secrets.token_hex(16)
                    os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=top)
                    moved.append(name)
    return moved


def _is_removed(name: str, folder: int) -> bool:
    """Remove a folder if it is empty."""
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError:
        return False
    return True
