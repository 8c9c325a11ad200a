"""What does a participant show of its files: which names are in a folder, which text is in a file?

Everything is read here, in Python, and has a bound: an answer holds 256 KiB of text or 5000 names, a search reads 64 MiB
at most and looks for plain text, so that no pattern can make it slow. It takes time: not for an event loop.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from ..protocol.file_answers import FileDetail, FileList, FileRow, FileText, WorkingFolder
from ..protocol.requests import Cat, FileRequest, Grep, Head, Ls, Pwd, Tail
from . import posix
from .folders import MAX_DEPTH, Workspace
from .inside import NoSuchFile, is_secret, opened_file, opened_folder

ANSWER_BYTES = 256 * 1024
ANSWER_NAMES = 5000
SEARCH_BYTES = 64 * 1024 * 1024
PIECE_BYTES = 64 * 1024
"""A longer line is searched in pieces of this size."""


def look(workspace: Workspace, asked: FileRequest) -> msgspec.Struct:
    """The answer to a question about files.

    Raises:
        PathRefused, NoSuchFile: see `inside`.
    """
    match asked:
        case Pwd():
            return WorkingFolder(asked.target, str(workspace.root))
        case Ls():
            return _list(workspace, asked)
        case Cat() | Head() | Tail() | Grep():
            return _read(workspace, asked)
    raise NoSuchFile(f"there is no way to answer {type(asked).__name__}")


# --- folders --------------------------------------------------------------------------------------------------------


def _list(workspace: Workspace, asked: Ls) -> FileList:
    path = "" if asked.path == "." else asked.path.removesuffix("/")
    rows: list[FileRow] = []
    with opened_folder(workspace, path) as folder:
        for row in _rows(workspace, asked, folder, "", MAX_DEPTH):
            if len(rows) == ANSWER_NAMES:
                return FileList(asked.target, path, rows, is_complete=False)
            rows.append(row)
    return FileList(asked.target, path, rows, is_complete=True)


def _rows(workspace: Workspace, asked: Ls, folder: int, prefix: str, depth: int) -> Iterator[FileRow]:
    for name in sorted(os.listdir(folder)):  # a descriptor has no Path
        if name.startswith(".") and not asked.hidden:
            continue
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:  # gone meanwhile
            continue
        is_folder = stat.S_ISDIR(found.st_mode)
        if is_folder and is_secret(workspace, found):
            continue
        yield _row(prefix + _shown(os.fsencode(name)), found, asked)
        if is_folder and asked.recursive and depth:
            yield from _rows_below(workspace, asked, folder, (name, prefix, depth))


def _rows_below(workspace: Workspace, asked: Ls, folder: int, place: tuple[str, str, int]) -> Iterator[FileRow]:
    name, prefix, depth = place
    try:
        below = posix.open_in(folder, name, os.O_DIRECTORY)
    except OSError:  # gone meanwhile, or exchanged for a link
        return
    try:
        if not is_secret(workspace, os.fstat(below)):
            yield from _rows(workspace, asked, below, f"{prefix}{_shown(os.fsencode(name))}/", depth - 1)
    finally:
        os.close(below)


def _row(path: str, found: os.stat_result, asked: Ls) -> FileRow:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    detail = FileDetail(stat.filemode(found.st_mode), found.st_size, found.st_mtime) if asked.detailed else None
    return FileRow(path, kinds.get(stat.S_IFMT(found.st_mode), "other"), detail)


# --- files ----------------------------------------------------------------------------------------------------------


def _read(workspace: Workspace, asked: Cat | Head | Tail | Grep) -> FileText:
    with opened_file(workspace, asked.file) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
        size = os.fstat(descriptor).st_size
        match asked:
            case Cat():
                data, left_out = _beginning(file, size, None)
            case Head():
                data, left_out = _beginning(file, size, asked.lines) if asked.size is None else _first(file, min(asked.size, size))
            case Tail():
                data, left_out = _end(file, size, asked.lines) if asked.size is None else _last(file, size, min(asked.size, size))
            case Grep():
                data, left_out = _found(file, size, asked)
    if isinstance(asked, Cat) and asked.numbered:
        data = b"".join(b"%6d\t%s" % (number, line) for number, line in enumerate(data.splitlines(keepends=True), 1))
    return FileText(asked.target, asked.file, _shown(data), size, left_out)


def _beginning(file: BinaryIO, size: int, lines: int | None) -> tuple[bytes, int]:
    """The first lines, or all of them, and what of that is left out."""
    if lines is None:
        return _first(file, size)
    wanted = sum(map(len, _first_lines(file, lines)))
    file.seek(0)
    return _first(file, wanted)


def _first_lines(file: BinaryIO, count: int) -> Iterator[bytes]:
    while count and file.tell() < SEARCH_BYTES and (piece := file.readline(PIECE_BYTES)):
        count -= piece.endswith(b"\n")
        yield piece


def _first(file: BinaryIO, size: int) -> tuple[bytes, int]:
    data = file.read(min(size, ANSWER_BYTES))
    return data, size - len(data)


def _end(file: BinaryIO, size: int, lines: int) -> tuple[bytes, int]:
    """The last lines. Where they begin is looked for from the end, as far as a search may read."""
    at, wanted = size, lines + 1
    if not lines:
        return b"", 0
    while at > max(0, size - SEARCH_BYTES) and wanted:
        start = max(0, at - PIECE_BYTES)
        file.seek(start)
        piece = file.read(at - start)
        if at == size and not piece.endswith(b"\n"):
            wanted -= 1  # the last line has no end of its own
        wanted, at = _count_back(piece, wanted, start)
    return _last(file, size, size - at)


def _count_back(piece: bytes, wanted: int, start: int) -> tuple[int, int]:
    """How many line ends are still wanted in front of a piece, and where to look for them; or 0, and where the last lines begin."""
    at = len(piece)
    while wanted and (at := piece.rfind(b"\n", 0, at)) >= 0:
        wanted -= 1
    return wanted, start + at + 1 if not wanted else start


def _last(file: BinaryIO, size: int, wanted: int) -> tuple[bytes, int]:
    shown = min(wanted, ANSWER_BYTES)
    file.seek(size - shown)
    return file.read(shown), wanted - shown


def _found(file: BinaryIO, size: int, asked: Grep) -> tuple[bytes, int]:
    """The lines with the pattern; left out are those that are too many, and what was not searched."""
    found, left_out, number, searched = bytearray(), 0, 1, 0
    wanted, folded = asked.pattern.encode(errors="replace"), asked.pattern.casefold()
    while searched < min(size, SEARCH_BYTES) and (piece := file.readline(PIECE_BYTES)):
        searched += len(piece)
        if (folded in _shown(piece).casefold()) if asked.ignore_case else (wanted in piece):
            line = (f"{number}:".encode() if asked.numbered else b"") + piece.removesuffix(b"\n") + b"\n"
            if len(found) + len(line) <= ANSWER_BYTES:
                found += line
            else:
                left_out += len(line)
        number += piece.endswith(b"\n")
    return bytes(found), left_out + max(0, size - searched)


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def read_at(descriptor: int, offset: int, most: int) -> tuple[bytes, int]:
    """Up to so many bytes of an open file from an offset on, and the file's size."""
    return os.pread(descriptor, most, offset), os.fstat(descriptor).st_size
