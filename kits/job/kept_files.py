"""Files of a run's folder that belong to its commits: what of them is new since the last one, and how they are put back."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from ...kernel.blobs import Blob
from ...kernel.messages import Payload
from ..handover.messages import KeptFile
from ..workspace.folders import relative_path

Signature = tuple[int, int, int]
"""Size, time of the last change and inode: a file with the same three is taken as unchanged."""


class KeptFiles:
    """The kept files of one run, in its server's job process.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._committed: dict[str, tuple[Signature, str]] = {}
        """Path → how it looks, and its sha256."""

    def put_back(self, files: Iterable[KeptFile]) -> None:
        """Make each of them again what the last commit has; one that was put back and not touched since is left.

        Raises:
            PathRefused, BlobUnreadable, BlobUnwritable, OSError: it cannot be.
        """
        for file in files:
            target = self._folder / relative_path(file.path)
            known = self._committed.get(file.path)
            if known is None or known[0] != _signature(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                Blob.open(Path(file.place), file.sha256).save(target)
                self._committed[file.path] = (_signature(target) or (0, 0, 0), file.sha256)

    def changes(self, paths: Iterable[str]) -> tuple[list[tuple[str, Payload | None]], list[bytes]]:
        """What the next commit is to have: path and payload of each file that is new or other, None for one that is gone.

        Large ones are copied to out/; the bytes of small ones are the body.

        Raises:
            BlobUnreadable, BlobUnwritable: a file cannot be copied.
        """
        found: list[tuple[str, Payload | None]] = []
        body: list[bytes] = []
        for path in sorted({*paths, *self._committed}):
            before, signature = self._committed.get(path), _signature(self._folder / path)
            if signature is None:
                if self._committed.pop(path, None) is not None:
                    found.append((path, None))
            elif before is None or before[0] != signature:
                copy = self._copied(path)
                self._committed[path] = (signature, copy.sha256)
                if before is None or before[1] != copy.sha256:
                    name = copy.path.name if copy.path is not None and copy.inline is None else ""
                    found.append((path, Payload(0, copy.sha256, copy.size_bytes, name)))
                    body += [copy.inline] if copy.inline is not None else []
                elif copy.inline is None and copy.path is not None:
                    copy.path.unlink()
        return found, body

    def _copied(self, path: str) -> Blob:
        """A file's bytes as they are now, out of reach of what writes to it; the hash is that of the copy."""
        file = Blob.open(self._folder / path, no_follow=True)
        return file if file.inline is not None else Blob.open(file.give(self._folder / "out"))


def _signature(path: Path) -> Signature | None:
    """None when there is no plain file (any more)."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ino) if stat.S_ISREG(status.st_mode) else None
