"""One line of a command, such as `list_jobs -n hello`: read, done, and answered in text or as one JSON document."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator, Iterator
from typing import Any, TextIO, cast

import click
import msgspec

from ...kernel.errors import AdminError, SundogError
from ...kernel.wording import did_you_mean
from ..commands.registry import AnyCommand, commands
from ..commands.text import Piece, trouble
from ..protocol.answers import CommandFailed, Problem
from . import text
from .command import parser, usage
from .session import Session

SUCCESS, FAILURE, USAGE = 0, 1, 2
"""What `run_line` returns, unless the command has an exit status of its own."""
OF_FLARE = {
    "shutdown": "`sundog poc stop`, or startup/stop.sh in the kit of a participant",
    "restart": "startup/stop.sh and startup/start.sh in the kit of a participant; jobs go on",
    "abort": "`abort_job JOB_ID`",
    "remove_client": "startup/stop.sh in the kit of the site",
    "sys_info": "`check_status server` and `check_status client`",
    "show_stats": "`get_job_report JOB_ID`, and `logs JOB_ID SITE`",
    "show_errors": "`get_job_report JOB_ID`, and `logs JOB_ID SITE`",
}
"""A command of FLARE's that has no counterpart of its name → what to use here."""


class NoSuchCommand(AdminError):
    """There is no such command.

    Cause: it is misspelt, or the plugin that brings it is not installed here.

    Cure: the message names one that is meant, perhaps; `sundog admin --help` lists them all.
    """

    code = "SD-6020"


class CommandMisused(AdminError):
    """A command has an argument or an option too many, too few, or one that it does not know.

    Cause: it is misspelt, or a name with spaces has no quotes.

    Cure: compare with the usage in the message.
    """

    code = "SD-6021"


def typed_commands() -> dict[str, AnyCommand]:
    """Name → command, of those that are typed, in the order of help."""
    return {name: command for name, command in commands().items() if command.group}


def no_such_command(name: str, known: Any) -> NoSuchCommand:
    """The error for a word that is no command: with the one that is meant, or what stands for a command of FLARE's."""
    if name in OF_FLARE:
        return NoSuchCommand(f"there is no command {name!r}; use {OF_FLARE[name]}")
    return NoSuchCommand(f"there is no command {name!r}{did_you_mean(name, known)}")


def run_line(session: Session, line: str, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Do what one line says; what a shell should return.

    Args:
        session: with whom.
        line: a command and its arguments, quoted as in a shell.
        as_json: print one JSON document, whatever comes: the answer, or {"error": …}.
        out: where the answer goes; default: stdout.
        err: where words on an error go; default: stderr.
    """
    out, err = out or sys.stdout, err or sys.stderr
    try:
        command, given = parse(line)
        if command.live is not None and not as_json:
            return _shown_live(command, command.live(session, given), out)
        answer = command.client(session, given) if command.client is not None else session.call(command, given)
    except click.exceptions.Exit:  # --help was printed
        return SUCCESS
    except SundogError as exc:
        text.show(trouble(Problem.of(exc)), err)
        if as_json:
            _print_json(CommandFailed(Problem.of(exc)), out)
        return USAGE if isinstance(exc, (NoSuchCommand, CommandMisused)) else FAILURE
    if as_json:
        _print_json(answer, out)
    else:
        text.show(command.show(answer), out)
    return command.exit_status(answer)


def _shown_live(command: AnyCommand, pieces: Iterator[Piece], out: TextIO) -> int:
    """Show what a command tells as it goes on; its exit status by what its generator returns."""
    answers: list[Any] = []

    def told() -> Iterator[Piece]:
        answers.append((yield from cast("Generator[Piece, None, Any]", pieces)))

    text.show(told(), out)
    return SUCCESS if answers[0] is None else command.exit_status(answers[0])


def parse(line: str) -> tuple[AnyCommand, Any]:
    """The command that a line names, and its arguments: its request, or its `line`.

    Raises:
        NoSuchCommand: with the name that is meant, perhaps.
        CommandMisused: with the usage.
        click.exceptions.Exit: --help was asked for, and printed.
    """
    try:
        words = shlex.split(line)
    except ValueError as exc:
        raise CommandMisused(f"{exc}", where=line) from exc
    known = typed_commands()
    if not words or words[0] not in known:
        raise no_such_command(words[0] if words else "", known)
    command = known[words[0]]
    try:
        with parser(command).make_context(command.name, words[1:]) as context:
            return command, msgspec.convert(context.params, command.line or command.request)
    except (click.UsageError, msgspec.ValidationError) as exc:
        raise CommandMisused(_words(exc), where=command.name, cure=f"Usage: {usage(command)}") from exc


def _words(error: click.UsageError | msgspec.ValidationError) -> str:
    if isinstance(error, click.MissingParameter) and error.param is not None and isinstance(error.param.type, click.Choice):
        return f"Missing argument {str(error.param.name).upper()!r}: wanted {' or '.join(map(str, error.param.type.choices))}"
    return error.format_message() if isinstance(error, click.UsageError) else str(error)


def _print_json(document: msgspec.Struct, out: TextIO) -> None:
    out.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
