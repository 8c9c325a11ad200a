"""pwd, ls, cat, head, tail and grep: the files of the server or of a site, without startup/ and state/."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import structlog

from ...kernel.wording import printable
from ..protocol.file_answers import FileDetail, FileList, FileRow, FileText, WorkingFolder
from ..protocol.requests import Cat, FileRequest, Grep, Head, Ls, Pwd, Tail
from ..workspace.looking import look
from .declaration import AtServer, AtSite, Command
from .text import Piece, Table, moment

log = structlog.get_logger()
_PLACE = "TARGET is server or the name of a site. Paths are relative to its workspace; startup/ and state/ are shown to nobody."
_CUT = f"{_PLACE} At most 256 KiB are shown."


async def _look(here: AtServer | AtSite, asked: FileRequest) -> Any:
    log.debug("files_shown", request=type(asked).__name__, file=getattr(asked, "file", getattr(asked, "path", "")))
    return await asyncio.to_thread(look, here.workspace, asked)


def _folder_text(answer: WorkingFolder) -> Iterator[Piece]:
    yield printable(answer.folder)


def _list_text(answer: FileList) -> Iterator[Piece]:
    if any(row.detail is not None for row in answer.files):
        yield Table(["MODE", "BYTES", "MODIFIED", "NAME"], [_cells(row) for row in answer.files])
    else:
        yield from (printable(_name(row)) for row in answer.files)
    if not answer.is_complete:
        yield f"({len(answer.files)} names are shown, and there are more)"


def _file_text(answer: FileText) -> Iterator[Piece]:
    if answer.text:
        yield printable(answer.text.removesuffix("\n"), keep="\n\t")
    if answer.left_out_bytes:
        yield f"({answer.left_out_bytes:,} bytes more are not shown)"


def _name(row: FileRow) -> str:
    return row.path + {"folder": "/", "link": "@"}.get(row.kind, "")


def _cells(row: FileRow) -> list[str]:
    detail = row.detail or FileDetail("", 0, 0.0)
    return [detail.mode, str(detail.size_bytes), moment(detail.modified_time), _name(row)]


def _text_command(name: str, request: type[msgspec.Struct], summary: str, details: str = _CUT) -> Command[Any, FileText]:
    return Command(
        name=name, right="files", request=request, answers=(FileText,), server=_look, site=_look,
        group="files", summary=summary, details=details, show=_file_text,
    )  # fmt: skip


PWD: Command[Pwd, WorkingFolder] = Command(
    name="pwd", right="files", request=Pwd, answers=(WorkingFolder,), server=_look, site=_look,
    group="files", summary="Show where the workspace of a participant lies.",
    details="TARGET is server or the name of a site.", show=_folder_text,
)  # fmt: skip
LS: Command[Ls, FileList] = Command(
    name="ls", right="files", request=Ls, answers=(FileList,), server=_look, site=_look,
    group="files", summary="List a folder of a participant.", details=f"{_PLACE} At most 5000 names are shown.", show=_list_text,
)  # fmt: skip
CAT = _text_command("cat", Cat, "Show a file of a participant.")
HEAD = _text_command("head", Head, "Show the beginning of a file.")
TAIL = _text_command("tail", Tail, "Show the end of a file.")
GREP = _text_command(
    "grep", Grep, "Show the lines of a file that hold a text.",
    f"{_CUT} PATTERN is plain text, no expression: no pattern can keep a participant busy. Its first 64 MiB are searched.",
)  # fmt: skip
