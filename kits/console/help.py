"""What can be said at the console, and how is each command used? All of it comes from the tables of commands."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from typing import TextIO

import click

from ..admin.command import AdminCommand
from .table import AnyCommand

MOST_COLUMNS = 100
"""Longer lines are hard to read."""
ARGUMENTS = {
    "job_id": "The id of a job, or how it begins.",
    "id_prefix": "How ids begin.",
    "site": "The name of a site.",
    "sites": "Names of sites.",
    "folder": "The folder of a job.",
}
"""Name of an argument → what it is, where the table does not say it."""


def overview(commands: Iterable[AnyCommand], out: TextIO) -> str:
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


def usage(command: AnyCommand, out: TextIO) -> str:
    """How one command is used, with its arguments and options."""
    formatter = click.HelpFormatter(width=_columns(out))
    name, _, rest = command.usage.partition(" ")
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


def parameters_of(command: AnyCommand) -> Iterator[tuple[str, str]]:
    """Each argument and option that can be explained, with the explanation."""
    for parameter in command.parameters if isinstance(command, AdminCommand) else ():
        if isinstance(parameter, click.Option):
            value = "" if parameter.is_flag else f" {parameter.make_metavar(click.Context(click.Command(None)))}"
            yield f"{', '.join(parameter.opts)}{value}", parameter.help or ""
        elif isinstance(parameter.type, click.Choice):
            yield str(parameter.name).upper(), f"One of {', '.join(map(str, parameter.type.choices))}."
        elif parameter.name in ARGUMENTS:
            yield str(parameter.metavar or parameter.name).strip("[]."), ARGUMENTS[parameter.name]


def _columns(out: TextIO) -> int:
    return min(shutil.get_terminal_size().columns if out.isatty() else MOST_COLUMNS, MOST_COLUMNS)
