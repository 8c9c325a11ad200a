"""How does a console run from its opening to its end: at a terminal, from a pipe, or by a script?"""

from __future__ import annotations

import sys

import click

from ..admin.commands import SUCCESS
from ..admin.session import Session
from .connectivity import Lookout, greet
from .script import Script
from .shell import Shell


def run_console(session: Session) -> int:
    """Do what somebody types until they leave, or what standard input says; the exit status."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return _at_terminal(session)
    return _from_pipe(session)


def run_script(session: Session, name: str, *, as_json: bool) -> int:
    """Carry out a file of commands, `-` for standard input; the exit status.

    Raises:
        ScriptUnreadable: it cannot be read.
    """
    script, shell = Script.read(name), Shell(session)
    return script.run_as_json(shell, sys.stdout) if as_json else script.run(shell, sys.stdout)


def _at_terminal(session: Session) -> int:
    """Leaving is a success, whatever the commands came to."""
    from .completion import ConsoleCompleter, sources_of
    from .prompt import LineDiscarded, Prompt

    greet(session, click.echo)
    shell = Shell(session, is_interactive=True)
    with Prompt(session.kit.prompt, ConsoleCompleter(sources_of(session)), session.folder) as prompt:
        lookout = Lookout(session, prompt.say)
        while not shell.is_over:
            try:
                lookout.open()
                line = prompt.read()
                lookout.hold()
                shell.do(line, sys.stdout)
            except EOFError:
                break
            except LineDiscarded:
                lookout.hold()
            except KeyboardInterrupt:
                lookout.hold()
                click.echo("interrupted; what the server has begun goes on")
    return SUCCESS


def _from_pipe(session: Session) -> int:
    """The status of the last command that failed."""
    shell, status = Shell(session), SUCCESS
    while not shell.is_over and (line := _next_line(session.kit.prompt)):
        status = shell.do(line, sys.stdout) or status
        sys.stdout.flush()
    return status


def _next_line(prompt: str) -> str:
    if sys.stdin.isatty():  # somebody types, and something else reads what is said
        click.echo(prompt, nl=False, err=True)
    return sys.stdin.readline()
