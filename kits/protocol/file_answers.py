"""What does a participant answer to a question about its files? As in `answers`, these types are the published JSON form."""

from __future__ import annotations

import msgspec


class WorkingFolder(msgspec.Struct, frozen=True):
    """`pwd`."""

    target: str
    folder: str
    """Absolute, at the target."""


class FileDetail(msgspec.Struct, frozen=True):
    """What `ls -l` tells besides."""

    mode: str
    """Kind and permissions, such as -rw-------."""
    size_bytes: int
    modified_time: float


class FileRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One name in a folder."""

    path: str
    """Relative to the folder that was asked for; bytes that are no UTF-8 as \\xNN."""
    kind: str
    """file, folder, link or other; a link is never followed."""
    detail: FileDetail | None = None
    """Only if asked for."""


class FileList(msgspec.Struct, frozen=True):
    """`ls`: sorted by name; what is in a folder stands behind it."""

    target: str
    path: str
    files: list[FileRow]
    is_complete: bool
    """False if there is more than one answer holds."""


class FileText(msgspec.Struct, frozen=True):
    """`cat`, `head`, `tail` and `grep`."""

    target: str
    file: str
    text: str
    """Bytes that are no UTF-8 stand as \\xNN."""
    size_bytes: int
    """Of the whole file."""
    left_out_bytes: int
    """What was asked for and is not in the text, because one answer holds 256 KiB: the end of it, for `tail` the beginning."""


class LogPiece(msgspec.Struct, frozen=True):
    """A part of a run's log: `read_log`."""

    job_id: str
    site: str
    text: str
    """At most 256 KiB; bytes that are no UTF-8 stand as \\xNN."""
    offset: int
    """Where the next part begins, in bytes."""
    size_bytes: int
    """Of the log, as far as it is written."""
    is_end: bool
    """Whether the run is over, and this the last of its log."""
