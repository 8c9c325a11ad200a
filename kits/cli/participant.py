"""What do `sundog server` and `sundog site` have in common? Run in the foreground, start in the background, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import click


def participant_command(kind: str, summary: str, run: Callable[[Path, int | None], None]) -> click.Command:
    """The command that runs a kind of participant.

    Args:
        kind: "server" or "site".
        summary: its first line of help.
        run: is given the kit and, when it was started by a program of ours, the descriptor of a lifeline.
    """

    def act(kit: Path, *, background: bool, stop: bool, lifeline: int | None) -> None:
        if stop:
            _stop(kit)
        elif background:
            _start(kit, kind)
        else:
            run(kit, lifeline)

    parameters: list[click.Parameter] = [
        click.Argument(["kit"], type=click.Path(path_type=Path)),
        click.Option(["--background"], is_flag=True, help="Return when it works; its log goes on to this terminal or file, not to a pipe."),
        click.Option(["--stop"], is_flag=True, help="Stop the one that runs, and return when it is gone."),
        click.Option(["--lifeline"], type=int, hidden=True),
    ]
    return click.Command(kind, params=parameters, callback=act, help=f"{summary}\n\nKIT is the folder that holds startup/.")


def _start(kit: Path, kind: str) -> None:
    from ..poc.participant import Output, Participant
    from ..supervisor.interrupts import Interrupts

    with Interrupts() as interrupts, Participant(kind, kit, Output.of_this_program()) as participant:
        with interrupts.allowed():
            where = participant.wait_ready()
        participant.stay()
    click.echo(f"{participant.name} works ({where}); log: {kit / 'log.txt'}", err=True)


def _stop(kit: Path) -> None:
    from ..supervisor.stopping import stop_participant

    pid = asyncio.run(stop_participant(kit))
    name = kit.absolute().name
    click.echo(f"{name} is stopped (it was process {pid})" if pid else f"{name} was not running", err=True)
