"""Which commands look at the files of a participant? A part of the table in `commands`."""

from __future__ import annotations

import click

from ..protocol.file_answers import FileList, FileText, WorkingFolder
from . import text
from .command import AdminCommand
from .session import Session

FILES = "files"
"""The group that help lists them in."""
_PLACE = "TARGET is server or the name of a site. Paths are relative to its workspace; startup/ and state/ are shown to nobody."
_CUT = f"{_PLACE} At most 256 KiB are shown."


def _target() -> click.Argument:
    return click.Argument(["target"], metavar="TARGET")


def _file() -> click.Argument:
    return click.Argument(["file"], metavar="FILE")


def _flag(option: str, name: str, words: str) -> click.Option:
    return click.Option([option, name], is_flag=True, help=words)


def _amounts(which: str) -> tuple[click.Option, click.Option]:
    count = click.IntRange(0, 2**31)
    return (
        click.Option(["-n", "lines"], type=count, default=10, metavar="LINES", help=f"So many of its {which} lines; default: 10."),
        click.Option(["-c", "size"], type=count, metavar="BYTES", help="So many bytes, instead of lines."),
    )


FILE_COMMANDS = (
    AdminCommand(
        "pwd", FILES, "Show where the workspace of a participant lies.", (_target(),), Session.pwd, (WorkingFolder,), text.working_folder,
        "TARGET is server or the name of a site.",
    ),
    AdminCommand(
        "ls", FILES, "List a folder of a participant.",
        (
            _target(),
            _flag("-a", "hidden", "Also what begins with a dot."),
            _flag("-l", "detailed", "With mode, size and time."),
            _flag("-R", "recursive", "Also the folders below."),
            click.Argument(["path"], required=False, default="", metavar="[PATH]"),
        ),
        Session.ls, (FileList,), text.file_list, f"{_PLACE} At most 5000 names are shown.",
    ),
    AdminCommand(
        "cat", FILES, "Show a file of a participant.",
        (_target(), _file(), _flag("-n", "numbered", "With the number of each line.")), Session.cat, (FileText,), text.file_text, _CUT,
    ),
    AdminCommand(
        "head", FILES, "Show the beginning of a file.", (_target(), *_amounts("first"), _file()), Session.head, (FileText,), text.file_text,
        _CUT,
    ),
    AdminCommand(
        "tail", FILES, "Show the end of a file.", (_target(), *_amounts("last"), _file()), Session.tail, (FileText,), text.file_text, _CUT,
    ),
    AdminCommand(
        "grep", FILES, "Show the lines of a file that hold a text.",
        (
            _target(),
            _flag("-n", "numbered", "With the number of each line."),
            _flag("-i", "ignore_case", "Capitals do not matter."),
            click.Argument(["pattern"], metavar="PATTERN"),
            _file(),
        ),
        Session.grep, (FileText,), text.file_text,
        f"{_CUT} PATTERN is plain text, no expression: no pattern can keep a participant busy. Its first 64 MiB are searched.",
    ),
)  # fmt: skip
