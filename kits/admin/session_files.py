"""Which methods of a Session show the files of a participant?"""

from __future__ import annotations

from collections.abc import Iterator

from ..protocol.file_answers import FileList, FileText, LogPiece, WorkingFolder
from ..protocol.requests import Cat, Grep, Head, Ls, Pwd, ReadLog, Tail
from .connection import NotAdmitted, NotSent, OutcomeUnknown
from .session_base import SessionBase


class SessionFiles(SessionBase):
    """What `Session` has for looking at the files of the server or of a site.

    `target` is "server" or the name of a site. Its workspace is the root, without startup/ and state/; paths are relative
    to it. The target decides itself whether it answers. Every method may raise RemoteError with SD-5002 (the path leads
    out, over a link, or to a secret), SD-6003 (the site does not answer), SD-6007 (the target does not allow it) or SD-6008
    (there is no such file).
    """

    def pwd(self, target: str) -> WorkingFolder:
        """Where the workspace of a participant lies, at its machine."""
        return self._ask(Pwd(target=target), WorkingFolder, self._timeout)

    def ls(self, target: str, path: str = "", *, hidden: bool = False, detailed: bool = False, recursive: bool = False) -> FileList:
        """The names in a folder, at most 5000.

        Args:
            target: whose folder.
            path: which; default: the workspace.
            hidden: also names that begin with a dot.
            detailed: with size in bytes, mode and time of the last change.
            recursive: also what is in the folders below.
        """
        request = Ls(target=target, path=path, hidden=hidden, detailed=detailed, recursive=recursive)
        return self._ask(request, FileList, self._timeout)

    def cat(self, target: str, file: str, *, numbered: bool = False) -> FileText:
        """A file, up to its first 256 KiB; `numbered`: with a number before each line."""
        return self._ask(Cat(target=target, file=file, numbered=numbered), FileText, self._timeout)

    def head(self, target: str, file: str, *, lines: int = 10, size: int | None = None) -> FileText:
        """The first lines of a file; or, with `size`, its first bytes."""
        return self._ask(Head(target=target, file=file, lines=lines, size=size), FileText, self._timeout)

    def tail(self, target: str, file: str, *, lines: int = 10, size: int | None = None) -> FileText:
        """The last lines of a file; or, with `size`, its last bytes."""
        return self._ask(Tail(target=target, file=file, lines=lines, size=size), FileText, self._timeout)

    def grep(self, target: str, pattern: str, file: str, *, ignore_case: bool = False, numbered: bool = False) -> FileText:
        """The lines of a file that hold a plain text, in its first 64 MiB.

        Args:
            target: whose file.
            pattern: the text, at most 1000 characters; no expression.
            file: which.
            ignore_case: capitals do not matter.
            numbered: with `<number>:` before each line.
        """
        request = Grep(target=target, pattern=pattern, file=file, ignore_case=ignore_case, numbered=numbered)
        return self._ask(request, FileText, self._timeout)

    def logs(self, job_id: str, site: str = "", *, follow: bool = False) -> Iterator[str]:
        """The log of a run, in pieces of at most 256 KiB as they come, which may end within a line.

        Args:
            job_id: the job; the beginning of its id will do.
            site: at which site; "" or "server": at the server.
            follow: go on until the run is over, also while the server is away; else end where the log ends now.

        Raises:
            RemoteError: SD-6009 if the site has no part in the job.
        """
        offset, size = 0, None
        while True:
            try:
                request = ReadLog(job_id=job_id, site=site, offset=offset, follow=follow)
                piece = self._ask(request, LogPiece, None if follow else self._timeout)
            except (NotSent, OutcomeUnknown) as exc:
                if not follow or size is None or isinstance(exc, NotAdmitted):
                    raise
                continue  # the server is away, and goes on with the log when it is back
            job_id, offset, size = piece.job_id, piece.offset, piece.size_bytes if size is None else size
            if piece.text:
                yield piece.text
            if piece.is_end or (not follow and (offset >= size or not piece.text)):
                return
