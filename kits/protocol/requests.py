"""What may an admin ask of the server? One type a command: its fields are the arguments, checked when they arrive.

On the link they travel as the JSON body of `Command`, whose name says which type it is. All of them may be sent twice
(after a lost connection) and then mean the same: what must not happen twice carries an id that the asker made.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from .answers import Files

OwnId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]
"""An id that the asker made; it may become a part of paths."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command and its arguments. An argument that the server does not know is refused, never ignored."""

    command: ClassVar[str]
    right: ClassVar[str]
    """What a role needs to give it: view | files | submit | manage."""
    only_waits: ClassVar[bool] = False
    """Whether it does nothing but wait for something to tell: it can be stopped when nobody wants to know any more."""


class CheckStatus(Request, frozen=True, kw_only=True):
    """How is the server; or how are the sites?"""

    command = "check_status"
    right = "view"
    only_waits = True
    target: Literal["server", "client"] = "server"
    sites: list[str] = []
    """Which sites; empty: all that are known."""
    after: int | None = None
    """Answer when the revision is another one than this; None: at once."""


class SubmitJob(Request, frozen=True, kw_only=True):
    """Take a job in. The server fetches its files from the asker, who offers them until the answer is there."""

    command = "submit_job"
    right = "submit"
    request: OwnId
    """The same again is the same job."""
    name: str
    """What the folder is called."""
    files: Files


class ListJobs(Request, frozen=True, kw_only=True):
    """Which jobs are there, the newest first?"""

    command = "list_jobs"
    right = "view"
    name_prefix: str = ""
    id_prefix: str = ""
    detailed: bool = False


class GetJobReport(Request, frozen=True, kw_only=True):
    """What came out of a job, or how far is it? Here and below `job_id` may be the beginning of one."""

    command = "get_job_report"
    right = "view"
    job_id: str


class Seen(msgspec.Struct, frozen=True):
    """What an asker knows of a job."""

    status: str
    rounds: int
    waits_for: str


class WatchJob(Request, frozen=True, kw_only=True):
    """The report, once it says more than what the asker has seen, with those rounds only that he has not; at once if it does already."""

    command = "watch_job"
    right = "view"
    only_waits = True
    job_id: str
    seen: Seen | None = None


class ReadLog(Request, frozen=True, kw_only=True):
    """What does a run's log say from some place on, at the server or at a site?"""

    command = "read_log"
    right = "view"
    only_waits = True
    job_id: str
    site: str = ""
    """Empty: the server."""
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    """In bytes."""
    follow: bool = False
    """Answer when there is something, or never will be; else at once."""


class AbortJob(Request, frozen=True, kw_only=True):
    """End a job; the answer comes when it has ended."""

    command = "abort_job"
    right = "manage"
    job_id: str


class DeleteJob(Request, frozen=True, kw_only=True):
    """Remove a job that has ended, and all that it left at the server."""

    command = "delete_job"
    right = "manage"
    job_id: str


class CloneJob(Request, frozen=True, kw_only=True):
    """Submit a job that is there once more."""

    command = "clone_job"
    right = "submit"
    job_id: str
    request: OwnId
    """The same again is the same clone."""


class ListSessions(Request, frozen=True, kw_only=True):
    """Which admins are connected?"""

    command = "list_sessions"
    right = "view"


class DownloadJob(Request, frozen=True, kw_only=True):
    """Offer the files of a job and of its result, until `DownloadDone`."""

    command = "download_job"
    right = "view"
    job_id: str
    download: OwnId


class DownloadDone(Request, frozen=True, kw_only=True):
    """The files of a download need not be offered any longer."""

    command = "download_done"
    right = "view"
    download: OwnId


# --- files of participants ------------------------------------------------------------------------------------------


class FileRequest(Request, frozen=True, kw_only=True):
    """Something about the files of a participant; its workspace is the root, without startup/ and state/."""

    right = "files"
    target: str
    """server, or the name of a site."""


class Pwd(FileRequest, frozen=True, kw_only=True):
    """Where is the workspace?"""

    command = "pwd"


class Ls(FileRequest, frozen=True, kw_only=True):
    """What is in a folder?"""

    command = "ls"
    path: str = ""
    """Relative to the workspace; empty: the workspace itself."""
    hidden: bool = False
    """Also what begins with a dot."""
    detailed: bool = False
    recursive: bool = False


class Cat(FileRequest, frozen=True, kw_only=True):
    """What is in a file?"""

    command = "cat"
    file: str
    numbered: bool = False


Lines = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class Head(FileRequest, frozen=True, kw_only=True):
    """How does a file begin?"""

    command = "head"
    file: str
    lines: Lines = 10
    size: Lines | None = None
    """Bytes, instead of lines."""


class Tail(FileRequest, frozen=True, kw_only=True):
    """How does a file end?"""

    command = "tail"
    file: str
    lines: Lines = 10
    size: Lines | None = None
    """Bytes, instead of lines."""


class Grep(FileRequest, frozen=True, kw_only=True):
    """Which lines of a file have a text in them?"""

    command = "grep"
    file: str
    pattern: Annotated[str, msgspec.Meta(max_length=1000)]
    """Plain text, no expression."""
    ignore_case: bool = False
    numbered: bool = False


FILE_REQUESTS: tuple[type[FileRequest], ...] = (Pwd, Ls, Cat, Head, Tail, Grep)
