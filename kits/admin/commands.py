"""Which commands can an admin give, with which arguments, and what comes back? The one table of them.

The one-shot command line, a console, its help and completion, and the documentation are all made from it. A command is
one method of `Session`; its answer is a typed document, which is printed for people or, with --json, as it is.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import click
import msgspec

from ...kernel.errors import AdminError, SundogError
from ...kernel.wording import did_you_mean
from ..protocol.answers import (
    AbortedJob,
    ClonedJob,
    DeletedJob,
    JobList,
    JobReport,
    Problem,
    ServerStatus,
    SessionList,
    SitesStatus,
    SubmittedJob,
)
from . import live, text
from .answers import CommandFailed, DownloadedJob, RunLog
from .command import AdminCommand
from .file_commands import FILE_COMMANDS
from .session import Session

SUCCESS, FAILURE, USAGE = 0, 1, 2
"""What `run_line` returns. A report on a job that failed is a success: the question was answered."""


class NoSuchCommand(AdminError):
    """There is no such command.

    Cause: it is misspelt.

    Cure: the message names one that is meant, perhaps; `sundog admin --help` lists them all.
    """

    code = "SD-6020"


class CommandMisused(AdminError):
    """A command has an argument or an option too many, too few, or one that it does not know.

    Cause: it is misspelt, or a name with spaces has no quotes.

    Cure: compare with the usage in the message.
    """

    code = "SD-6021"


def _job_id() -> click.Argument:
    return click.Argument(["job_id"], metavar="JOB_ID")


def _request_id() -> click.Option:
    return click.Option(["--request-id"], metavar="ID", help="The same again is the same job.")


def _submit(session: Session, folder: str, request_id: str | None) -> SubmittedJob:
    return SubmittedJob(session.submit_job(folder, request_id=request_id))


_COMMANDS = (
    AdminCommand(
        "check_status", "status", "Show how the server is, or how the sites are.",
        (click.Argument(["target"], type=click.Choice(["server", "client"])), click.Argument(["sites"], nargs=-1, metavar="[SITE]...")),
        Session.check_status, (ServerStatus, SitesStatus), text.status,
        "Without names, all sites that were connected since the server started.",
    ),
    AdminCommand(
        "list_sessions", "status", "List the admins that are connected.", (), Session.list_sessions, (SessionList,), text.sessions,
    ),
    AdminCommand(
        "submit_job", "jobs", "Submit a job.",
        (click.Argument(["folder"], metavar="FOLDER"), _request_id()),
        _submit, (SubmittedJob,), text.submitted,
        "FOLDER is relative to the kit's upload_dir, or absolute. One without meta.json is an app, which goes to everybody.",
    ),
    AdminCommand(
        "list_jobs", "jobs", "List jobs, the newest first.",
        (
            click.Option(["-n", "name_prefix"], metavar="NAME_PREFIX", default="", help="Only those whose name begins so."),
            click.Option(["-d", "detailed"], is_flag=True, help="Everything that is known of each, as JSON."),
            click.Argument(["id_prefix"], required=False, default="", metavar="[ID_PREFIX]"),
        ),
        Session.list_jobs, (JobList,), text.job_list,
    ),
    AdminCommand(
        "get_job_report", "jobs", "Show what came out of a job, or how far it is.",
        (_job_id(),), Session.job_report, (JobReport,), text.report, "The beginning of an id will do, here and in the other commands.",
    ),
    AdminCommand(
        "monitor_job", "jobs", "Watch a job until it has ended.", (_job_id(),), Session.monitor_job, (JobReport,), text.report,
        "Shows its rounds as they are closed; with --json, the report at its end.", live.monitored,
    ),
    AdminCommand(
        "logs", "jobs", "Show the log of a run, at the server or at a site.",
        (
            _job_id(),
            click.Option(["-f", "follow"], is_flag=True, help="Go on until the run is over."),
            click.Argument(["site"], required=False, default="", metavar="[SITE]"),
        ),
        live.log, (RunLog,), live.log_text,
        "Without SITE, that of the server. With --json, the last 1,048,576 characters; with -f, when the run is over.", live.logged,
    ),
    AdminCommand(
        "abort_job", "jobs", "End a job; the answer comes when it has ended.", (_job_id(),), Session.abort_job, (AbortedJob,), text.aborted,
    ),
    AdminCommand(
        "delete_job", "jobs", "Remove a job that has ended, and its result, from the server.", (_job_id(),),
        Session.delete_job, (DeletedJob,), text.deleted,
        "One that has not ended is refused: abort it first. What sites keep of it stays there.",
    ),
    AdminCommand(
        "clone_job", "jobs", "Submit a job of the server's once more, as it was submitted.", (_job_id(), _request_id()),
        Session.clone_job, (ClonedJob,), text.cloned,
    ),
    AdminCommand(
        "download_job", "jobs", "Fetch a job that has ended, and its result.",
        (_job_id(), click.Option(["--to", "destination"], metavar="FOLDER", help="Instead of the kit's download_dir.")),
        Session.download_job, (DownloadedJob,), text.downloaded,
        "They go to <download_dir>/<id>/job and …/workspace. What broke off goes on where it was.",
    ),
)  # fmt: skip
COMMANDS: Mapping[str, AdminCommand] = {command.name: command for command in (*_COMMANDS, *FILE_COMMANDS)}
"""Name → command, in the order of help."""


def run_line(session: Session, line: str, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Do what one line says, such as `list_jobs -n hello`; what a shell should return.

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
            text.show(command.live(session, **given), out)
            return SUCCESS
        answer = command.act(session, **given)
    except click.exceptions.Exit:  # --help was printed
        return SUCCESS
    except SundogError as exc:
        text.show(text.trouble(Problem.of(exc)), err)
        if as_json:
            _print_json(CommandFailed(Problem.of(exc)), out)
        return USAGE if isinstance(exc, (NoSuchCommand, CommandMisused)) else FAILURE
    if as_json:
        _print_json(answer, out)
    else:
        text.show(command.text(answer), out)
    return SUCCESS


def parse(line: str) -> tuple[AdminCommand, dict[str, Any]]:
    """The command that a line names, and its arguments by name.

    Raises:
        NoSuchCommand: with the name that is meant, perhaps.
        CommandMisused: with the usage.
        click.exceptions.Exit: --help was asked for, and printed.
    """
    try:
        words = shlex.split(line)
    except ValueError as exc:
        raise CommandMisused(f"{exc}", where=line) from exc
    if not words or words[0] not in COMMANDS:
        name = words[0] if words else ""
        raise NoSuchCommand(f"there is no command {name!r}{did_you_mean(name, COMMANDS)}")
    command = COMMANDS[words[0]]
    try:
        with command.parser().make_context(command.name, words[1:]) as context:
            return command, dict(context.params)
    except click.UsageError as exc:
        raise CommandMisused(exc.format_message(), where=command.name, cure=f"Usage: {command.usage}") from exc


def _print_json(document: msgspec.Struct, out: TextIO) -> None:
    out.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
