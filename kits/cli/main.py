"""`sundog`: the table of its sub-commands, each imported when it is called. Plugins may bring more (see `plugged`)."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click

from ... import __version__

SUMMARIES = {
    "demo": "Train a small network with two sites, as real processes on this machine.",
    "poc": "Make a federation on this machine, start it and stop it.",
    "simulate": "Run a job in one process.",
    "job": "Check a job before it is submitted.",
    "admin": "Give commands to a server.",
    "server": "Run a server.",
    "site": "Run a site.",
    "plugins": "Show what is installed: plugins, and the names they bring.",
    "explain": "Show what an error code means, and what to do.",
    "schema": "Print the JSON Schema of what is read and written.",
}
"""Command → one sentence. It lives in the module of its name beside this one, as `command`."""


class LazyCommands(click.Group):
    """Commands that are known by name and summary until one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from .plugged import sub_commands

        return list(dict.fromkeys([*SUMMARIES, *sub_commands()]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUMMARIES:
            from .plugged import load

            return load(cmd_name)
        command: click.Command = import_module(f".{cmd_name}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))
        from .plugged import summaries

        if more := summaries(SUMMARIES):
            with formatter.section("Commands of plugins"):
                formatter.write_dl(more)


@click.command(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sundog")
def sundog() -> None:
    """Federated computing: many organisations train a model together, and the data never leaves home.

    A first look: `sundog demo`. Errors have a code; `sundog explain CODE` tells more. Exit status: 0 success,
    2 wrong usage, 3 a job ended degraded, 4 aborted, 5 with an exception, 6 could not be scheduled, 1 anything else.
    """


def main() -> NoReturn:
    """The program `sundog`."""
    _run(sundog, "sundog")


def poc_main() -> NoReturn:
    """The program `poc`: another name for `sundog poc`."""
    from .poc import command

    _run(command, "poc")


def _run(command: click.Command, name: str) -> NoReturn:
    arguments = sys.argv[1:]
    try:
        status = command.main(arguments, prog_name=name, standalone_mode=False)
    except BaseException as exc:  # noqa: BLE001  # the program's outermost line: also Ctrl-C and sys.exit() end in words and a status
        from .failures import tell

        status = tell(exc, as_json="--json" in arguments)
    with suppress(OSError):  # nobody listens any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0)  # to take an interpreter with torch apart takes a second, and does nothing
