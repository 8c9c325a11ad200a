"""Requests: the arguments of admin commands, one type each; here those that the workspace and the logs of a participant answer.

On a link they travel as a msgpack map, checked against the type by who receives it. All of them may be sent twice
(after a lost connection) and then mean the same: what must not happen twice carries an id that the asker made.
The declarations of the commands, and their other requests, are in `kits.commands`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

OwnId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]
"""An id that the asker made; it may become a part of paths."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """How a field is typed on a command line: `job_id: Annotated[str, Parameter("The id of a job.")]`.

    Name, type, default and bounds are those of the field. Without a Parameter a field is an argument in its place, a
    bool is a flag of its name, and a list takes the rest of the line.
    """

    help: str = ""
    option: str = ""
    """Such as -n."""
    metavar: str = ""
    """What help calls the value; default: the field's name."""
    completes: str = ""
    """What TAB finds: jobs, sites, targets (server and sites), job_folders, folders or files."""
    is_typed: bool = True
    """False for a field that the admin's side fills in."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of a command. One that the receiver does not know is refused, never ignored."""


class TargetedRequest(Request, frozen=True, kw_only=True):
    """A request that is for the server or for one site, to which the server passes it on."""

    target: Annotated[str, Parameter(completes="targets")]
    """server, or the name of a site."""


class ReadLog(Request, frozen=True, kw_only=True):
    """A run's log from some place on, at the server or at a site."""

    job_id: str
    site: str = ""
    """Empty: the server."""
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    """In bytes."""
    follow: bool = False
    """Answer when there is something, or never will be; else at once."""


# --- files of participants ------------------------------------------------------------------------------------------

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Numbered = Annotated[bool, Parameter("With the number of each line.", "-n")]
Bytes = Annotated[Count | None, Parameter("Number of bytes, instead of lines.", "-c", "BYTES")]


class FileRequest(TargetedRequest, frozen=True, kw_only=True):
    """A question about the files of a participant; its workspace is the root, without startup/ and state/."""


class Pwd(FileRequest, frozen=True, kw_only=True):
    """The place of the workspace."""


class Ls(FileRequest, frozen=True, kw_only=True):
    """The content of a folder."""

    hidden: Annotated[bool, Parameter("Also what begins with a dot.", "-a")] = False
    detailed: Annotated[bool, Parameter("With mode, size and time.", "-l")] = False
    recursive: Annotated[bool, Parameter("Also the folders below.", "-R")] = False
    path: str = ""
    """Relative to the workspace; empty: the workspace itself."""


class Cat(FileRequest, frozen=True, kw_only=True):
    """A file."""

    file: str
    numbered: Numbered = False


class Head(FileRequest, frozen=True, kw_only=True):
    """The beginning of a file."""

    lines: Annotated[Count, Parameter("Number of lines from its start; default: 10.", "-n", "LINES")] = 10
    size: Bytes = None
    file: str


class Tail(FileRequest, frozen=True, kw_only=True):
    """The end of a file."""

    lines: Annotated[Count, Parameter("Number of lines from its end; default: 10.", "-n", "LINES")] = 10
    size: Bytes = None
    file: str


class Grep(FileRequest, frozen=True, kw_only=True):
    """The lines of a file with a text in them."""

    numbered: Numbered = False
    ignore_case: Annotated[bool, Parameter("Capitals do not matter.", "-i")] = False
    pattern: Annotated[str, msgspec.Meta(max_length=1000)]
    """Plain text, no expression."""
    file: str
