"""How does the command line tell that something went wrong: in which words, with which exit status?"""

from __future__ import annotations

import os
import sys
import traceback

import click
import msgspec

from ...kernel.errors import CommandLineError, Failure, PluginError, SundogError, paragraph
from ...kernel.wording import printable
from ..protocol.answers import CommandFailed, Problem

DEBUG_VARIABLE = "SUNDOG_DEBUG"
"""Environment variable: anything but nothing has tracebacks printed."""
FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit statuses; 130 is the shells' own for Ctrl-C."""


class Unexpected(CommandLineError):
    """Something happened that nobody has thought of.

    Cause: a mistake in Sundog, or in a plugin; the place is in the message.

    Cure: give the command again with SUNDOG_DEBUG=1 in the environment, and report the traceback.
    """

    code = "SD-7001"


class NoSubCommand(PluginError):
    """A plugin brings a sub-command of `sundog` that is not one.

    Cause: the entry point of the group sundog.cli names something that is not a `click.Command`.

    Cure: tell the plugin's author, or uninstall the package in the message.
    """

    code = "SD-1083"


def tell(error: BaseException, *, as_json: bool) -> int:
    """Say on stderr what has ended a command; the exit status.

    Args:
        as_json: say it on stdout, too, as the one JSON document that was asked for.
    """
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    interrupt = error if isinstance(error, KeyboardInterrupt) else error.__cause__  # click raises Abort from it
    if isinstance(interrupt, KeyboardInterrupt):
        click.echo(str(interrupt) or "interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        error.show(sys.stderr)
        return error.exit_code
    if isinstance(error, click.Abort):
        click.echo("nothing was changed", err=True)
        return FAILED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    known = error if isinstance(error, SundogError) else _unexpected(error)
    problem = Problem.of(known)
    click.echo(words(problem, paragraph(type(known), "Cause")), err=True)
    if as_json:
        print_json(CommandFailed(problem))
    return FAILED


def words(problem: Problem, cause: str = "") -> str:
    """An error for people: its code and what happened; where, why, and what to do."""
    lines = [f"  {label + ':':<6} {text}" for label, text in (("where", problem.place), ("cause", cause), ("cure", problem.cure)) if text]
    return printable("\n".join([f"[{problem.code}] {problem.what}", *lines]), keep="\n")


def print_json(document: object) -> None:
    """Print the one JSON document of a command."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def _unexpected(error: BaseException) -> Unexpected:
    failure = Failure.of(error)
    return Unexpected(failure.what, where=failure.where)
