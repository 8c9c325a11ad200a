"""Help: what can be said at the console, and how each command is used, from the declarations."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from typing import TextIO

import click

from ..admin import command as command_line
from ..commands.declaration import Command
from ..commands.registry import AnyCommand
from .table import LocalCommand

MOST_COLUMNS = 100
"""Longer lines are hard to read."""


def overview(commands: Iterable[AnyCommand | LocalCommand], out: TextIO) -> str:
    """All commands, in groups."""
    listed = list(commands)
    widest = max(len(command.name) for command in listed)
    formatter = click.HelpFormatter(width=_columns(out))
    for group in dict.fromkeys(command.group for command in listed):
        with formatter.section(group.capitalize()):
            formatter.write_dl([(command.name.ljust(widest), command.summary) for command in listed if command.group == group])
    formatter.write_paragraph()
    formatter.write_text("? COMMAND tells more of one. COMMAND > FILE writes to a file, >> to its end.")
    return formatter.getvalue().lstrip("\n")


def usage(command: AnyCommand | LocalCommand, out: TextIO) -> str:
    """How one command is used, with its arguments and options."""
    formatter = click.HelpFormatter(width=_columns(out))
    name, _, rest = usage_line(command).partition(" ")
    formatter.write_usage(name, rest)
    rows = list(parameters_of(command))
    with formatter.indentation():
        for text in filter(None, (command.summary, command.details)):
            formatter.write_paragraph()
            formatter.write_text(text)
        if rows:
            formatter.write_paragraph()
            formatter.write_dl(rows)
    return formatter.getvalue()


def usage_line(command: AnyCommand | LocalCommand) -> str:
    """How a command is written."""
    return command_line.usage(command) if isinstance(command, Command) else command.usage


def parameters_of(command: AnyCommand | LocalCommand) -> Iterator[tuple[str, str]]:
    """Each argument and option that can be explained, with the explanation."""
    for parameter, mark in command_line.typed(command) if isinstance(command, Command) else ():
        if isinstance(parameter, click.Option):
            value = "" if parameter.is_flag else f" {parameter.metavar}"
            yield f"{', '.join(parameter.opts)}{value}", mark.help
        elif isinstance(parameter.type, click.Choice):
            yield str(parameter.name).upper(), mark.help or f"One of {', '.join(map(str, parameter.type.choices))}."
        elif mark.help:
            yield str(parameter.metavar).strip("[]."), mark.help


def _columns(out: TextIO) -> int:
    return min(shutil.get_terminal_size().columns if out.isatty() else MOST_COLUMNS, MOST_COLUMNS)
