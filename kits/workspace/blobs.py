"""Where does a blob lie in the server's state?"""

from __future__ import annotations

import re
from pathlib import Path

from ...kernel.errors import DaemonError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class NoSha256(DaemonError):
    """A blob was asked for by something that is no sha256.

    Cause: a damaged message or record.

    Cure: look in the log for the peer that sent it.
    """

    code = "SD-5004"


class BlobStore:
    """A folder of files, each named by the sha256 of its bytes.

    None is changed once a record or a message speaks of it; who put one there decides when it goes.
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

    def __repr__(self) -> str:
        return f"BlobStore({str(self.folder)!r})"
