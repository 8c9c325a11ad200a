"""The commands that the console does itself, without the server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from ...kernel.wording import printable
from ..admin.commands import SUCCESS, no_such_command, typed_commands
from ..commands.registry import AnyCommand
from . import help as pages
from .script import Script
from .table import Console, LocalCommand

ALIASES = {"?": "help", "exit": "bye", "quit": "bye"}
"""Other names of local commands."""


def find_command(name: str) -> AnyCommand | LocalCommand:
    """A command by its name or another name of it.

    Raises:
        NoSuchCommand: with the name that is meant, perhaps.
    """
    known = all_commands()
    name = ALIASES.get(name, name)
    if name not in known:
        raise no_such_command(name, known)
    return known[name]


def all_commands() -> dict[str, AnyCommand | LocalCommand]:
    """Name → command, the server's and the console's own, in the order of help."""
    return {**typed_commands(), **LOCAL_COMMANDS}


def _help(_console: Console, out: TextIO, words: list[str]) -> int:
    out.write(pages.usage(find_command(words[0]), out) if words else pages.overview(all_commands().values(), out))
    return SUCCESS


def _info(console: Console, out: TextIO, _words: list[str]) -> int:
    session = console.session
    link = session.connection.link
    rows = {
        "kit": str(session.folder),
        "uploads from": str(session.folder / session.kit.upload_dir),
        "downloads to": str(session.folder / session.kit.download_dir),
        "server": link.peer.name if link.is_up else f"not connected; tried: {', '.join(session.kit.endpoints)}",
        "token": session.connection.token,
    }
    out.writelines(f"{what + ':':<14}{printable(value)}\n" for what, value in rows.items())
    return SUCCESS


def _lpwd(_console: Console, out: TextIO, _words: list[str]) -> int:
    out.write(f"{printable(str(Path.cwd()))}\n")
    return SUCCESS


def _source(console: Console, out: TextIO, words: list[str]) -> int:
    return Script.read(words[0]).run(console, out)


def _bye(console: Console, _out: TextIO, _words: list[str]) -> int:
    console.is_over = True
    return SUCCESS


_LOCAL = (
    LocalCommand("help", "help [COMMAND]", "List the commands, or show how one is used.", _help, "? is the same.", (0, 1)),
    LocalCommand("info", "info", "Show the folders of this kit, the server and the token of this session.", _info),
    LocalCommand("lpwd", "lpwd", "Show the local working directory.", _lpwd, "Files behind > and >> are relative to it."),
    LocalCommand(
        "source", "source FILE", "Give the commands in a file, one a line.", _source,
        "Empty lines and lines that begin with # are skipped. It stops at the first command that fails.", (1, 1),
    ),
    LocalCommand("bye", "bye", "Leave the console.", _bye, "Ctrl-D, exit and quit do the same. Jobs go on."),
)  # fmt: skip
LOCAL_COMMANDS: Mapping[str, LocalCommand] = {command.name: command for command in _LOCAL}
"""Name → command, in the order of help."""
