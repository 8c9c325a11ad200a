"""`sundog admin KIT`."""

from __future__ import annotations

from pathlib import Path

import click


class AdminHelp(click.Command):
    """Its help lists the commands from their declarations."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List what can be said after -c."""
        from ..admin.command import usage
        from ..admin.commands import typed_commands

        with formatter.section("Commands for -c"):
            formatter.write_dl([(usage(command), command.summary) for command in typed_commands().values()])


@click.command(cls=AdminHelp)
@click.argument("kit", type=click.Path(path_type=Path))
@click.option("-c", "line", metavar="COMMAND", help="Give this one command.")
@click.option(
    "-f", "script", metavar="SCRIPT", help="Give the commands in this file, one a line, up to the first that fails; - is standard input."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with -c or -f.")
def command(kit: Path, line: str | None, script: str | None, *, as_json: bool) -> int:
    """Give commands to the server of an admin's kit: interactively, or the one after -c, or those in a file.

    KIT is the folder that holds startup/fed_admin.json. Where standard input is no terminal, each of its lines is a
    command.
    """
    from ..admin.commands import run_line
    from ..admin.session import Session
    from ..console.program import run_console, run_script
    from ..workspace.log import start_command_logging

    if line is not None and script is not None:
        raise click.UsageError("-c and -f exclude each other")
    if as_json and line is None and script is None:
        raise click.UsageError("--json needs -c or -f: it prints one document")
    start_command_logging()
    with Session(kit) as session:
        for note in session.notes:
            click.echo(f"note: {note}", err=True)
        if line is not None:
            return run_line(session, line, as_json=as_json)
        return run_script(session, script, as_json=as_json) if script is not None else run_console(session)
