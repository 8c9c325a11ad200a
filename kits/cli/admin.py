"""`sundog admin KIT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..admin.session import Session

FAREWELLS = ("bye", "exit", "quit")


class AdminHelp(click.Command):
    """Its help lists the commands from their table."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List what can be said after -c."""
        from ..admin.commands import COMMANDS

        with formatter.section("Commands for -c"):
            formatter.write_dl([(command.usage, command.summary) for command in COMMANDS.values()])


@click.command(cls=AdminHelp)
@click.argument("kit", type=click.Path(path_type=Path))
@click.option("-c", "line", metavar="COMMAND", help="Give this one command.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with -c.")
def command(kit: Path, line: str | None, *, as_json: bool) -> int:
    """Give commands to the server of an admin's kit: the one after -c, or else each line of standard input.

    KIT is the folder that holds startup/fed_admin.json.
    """
    from ..admin.commands import run_line
    from ..admin.session import Session
    from ..workspace.log import start_command_logging

    if as_json and line is None:
        raise click.UsageError("--json needs -c: it prints one document")
    start_command_logging()
    with Session(kit) as session:
        for note in session.notes:
            click.echo(f"note: {note}", err=True)
        return run_line(session, line, as_json=as_json) if line is not None else _each_line(session)


def _each_line(session: Session) -> int:
    """Do what standard input says, line by line; the status of the last command that failed."""
    from ..admin.commands import run_line

    status = 0
    while line := _next_line(session.kit.prompt):
        words = line.strip()
        if words in FAREWELLS:
            break
        if words:
            status = run_line(session, words) or status
    return status


def _next_line(prompt: str) -> str:
    if sys.stdin.isatty():
        click.echo(prompt, nl=False)
    return sys.stdin.readline()
