"""Where does a blob lie, and how does it come and go without ever being rewritten?"""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

from ...kernel.errors import DaemonError
from .folders import atomic_write, sync_file

_SHA256 = re.compile(r"[0-9a-f]{64}")


class NoSha256(DaemonError):
    """A blob was asked for by something that is no sha256.

    Cause: a damaged message or record.

    Cure: look in the log for the peer that sent it.
    """

    code = "SD-5004"


class BlobStore:
    """A folder of files, each named by the sha256 of its bytes.

    Files are read-only, put in place by one rename and never changed; who asks for one decides when it goes. The
    methods that touch the disk are quick; run them on the writer thread: `await writer.do(lambda: blobs.put(data))`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Where the blob lies, or would lie.

        Raises:
            NoSha256: wanted 64 hexadecimal digits.
        """
        if not _SHA256.fullmatch(sha256):
            raise NoSha256(f"wanted 64 hexadecimal digits, got {sha256!r:.80}")
        return self.folder / sha256

    def has(self, sha256: str) -> bool:
        """Whether the blob is here."""
        return self.path(sha256).is_file()

    def put(self, data: bytes | memoryview, *, sha256: str = "", durable: bool = False) -> str:
        """Keep some bytes; returns their sha256, which is computed unless it is given. `durable`: they survive a power cut."""
        sha256 = sha256 or hashlib.sha256(data).hexdigest()
        if not self.has(sha256):
            atomic_write(self.path(sha256), bytes(data), durable=durable)
            self.path(sha256).chmod(0o444)
        return sha256

    def adopt(self, file: Path, sha256: str, *, durable: bool = False) -> Path:
        """Take a file of this file system over by renaming it; the caller vouches for the hash. Already here: `file` is dropped."""
        target = self.path(sha256)
        if target.is_file():
            file.unlink()
            return target
        with contextlib.suppress(PermissionError):  # a job under a uid of its own remains the owner of what it wrote
            file.chmod(0o444)
        if durable:
            sync_file(file)
        file.rename(target)
        if durable:
            sync_file(self.folder)
        return target

    def unlink(self, sha256: str) -> None:
        """Forget a blob; gone already is fine."""
        self.path(sha256).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """The sha256 of all blobs here; partial files and drafts are not among them."""
        return {entry.name for entry in self.folder.iterdir() if _SHA256.fullmatch(entry.name)}

    def __repr__(self) -> str:
        return f"BlobStore({str(self.folder)!r})"
