"""`sundog poc`, and `poc`."""

from __future__ import annotations

from pathlib import Path

import click

from ...kernel.errors import CommandLineError
from ..poc.layout import ADMIN_PORT, DEFAULT_TRANSPORT, FL_PORT, TRANSPORTS, Poc, Transport

DEFAULT_FOLDER = Path("poc")
FOLDER_HELP = "The federation's folder."
PORT = click.IntRange(0, 65535)


class NotRemoved(CommandLineError):
    """A federation's folder could not be removed whole.

    Cause: files in it belong to another user or are protected, or a program still writes there.

    Cure: end what uses the folder, then remove it as a user who may.
    """

    code = "SD-7061"


class PocGroup(click.Group):
    """Without a sub-command it makes the folder; its usage line shows the options that FLARE's `poc` has."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[-h] [-n NUM_CLIENTS] [-w DIR] [start | stop | up | clean]"]


@click.group(cls=PocGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-n", "sites", type=click.IntRange(1, 1000), default=1, metavar="NUM_CLIENTS", help="How many sites.", show_default=True)
@click.option("-w", "folder", type=click.Path(path_type=Path), default=DEFAULT_FOLDER, metavar="DIR", help=FOLDER_HELP, show_default=True)
@click.option("--transport", type=click.Choice(TRANSPORTS), default=DEFAULT_TRANSPORT, help="By which they speak.", show_default=True)
@click.option("--fl-port", type=PORT, default=FL_PORT, metavar="PORT", help="Where sites dial in; 0: a free one.", show_default=True)
@click.option("--admin-port", type=PORT, default=ADMIN_PORT, metavar="PORT", help="Where admins dial in; 0: a free one.", show_default=True)
@click.pass_context
def command(ctx: click.Context, sites: int, folder: Path, *, transport: Transport, fl_port: int, admin_port: int) -> None:
    """Make a federation on this machine: a folder with a server, sites and an admin.

    What is there already is replaced only if you say so. It is for trying things out: all speak in clear, on this
    machine only.
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = folder
        return
    _make(folder, Poc(sites=sites, transport=transport, fl_port=fl_port, admin_port=admin_port))


def _make(folder: Path, poc: Poc) -> None:
    from ..poc.federation import refuse_running
    from ..poc.layout import is_poc, make_poc, refuse_strangers

    refuse_strangers(folder)
    if is_poc(folder):
        refuse_running(folder)
        click.confirm(f"{folder} is there; it will be deleted, with all results in it. Go on?", abort=True, err=True)
    made = make_poc(folder, poc)
    click.echo(f"{folder}: server (ports {made.fl_port} and {made.admin_port}), {', '.join(made.site_names)}, admin")
    click.echo(f"Start it: sundog poc start{_option(folder)}")


def _option(folder: Path) -> str:
    return "" if folder == DEFAULT_FOLDER else f" -w {folder}"


def _folder(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> Path:
    """-w may stand before the sub-command or behind it."""
    given: Path = ctx.obj
    return value or given


_folder_option = click.option("-w", "folder", type=click.Path(path_type=Path), metavar="DIR", help=FOLDER_HELP, callback=_folder)


@command.command()
@_folder_option
def start(folder: Path) -> None:
    """Start all in the background; return when every site is registered."""
    from ..admin.session import Session
    from ..poc.federation import Federation
    from ..supervisor.interrupts import Interrupts
    from ..workspace.log import start_command_logging

    start_command_logging()
    with Interrupts() as interrupts, Federation(folder, interrupts) as federation:
        federation.start()
        with Session(folder / "admin") as session:
            federation.wait_registered(session)
        federation.stay()
    click.echo(f"{', '.join(federation.names)} are at work; logs: {folder}/*/log.txt")
    click.echo(f'Give a command: sundog admin {folder / "admin"} -c "check_status server"')
    click.echo(f"Stop them:      sundog poc stop{_option(folder)}")


@command.command()
@_folder_option
def up(folder: Path) -> None:
    """Run all in the foreground until Ctrl-C; it leaves nothing running."""
    from ..poc.federation import Federation
    from ..poc.participant import Output
    from ..supervisor.interrupts import Interrupts

    with Interrupts() as interrupts, Federation(folder, interrupts, Output.SHARED) as federation:
        federation.start()
        click.echo(f"{', '.join(federation.names)} are at work; Ctrl-C stops them", err=True)
        federation.wait_for_loss()


@command.command()
@_folder_option
def stop(folder: Path) -> None:
    """Stop all; return when they are gone."""
    from ..poc.federation import stop_poc

    stopped = stop_poc(folder)
    click.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@command.command()
@_folder_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clean(folder: Path, *, yes: bool) -> None:
    """Stop all, and remove the folder with all results in it."""
    from ..poc.federation import stop_poc
    from ..poc.layout import read_poc
    from ..workspace.disk import Disk

    read_poc(folder)
    if not yes:
        click.confirm(f"{folder} will be deleted, with all results in it. Go on?", abort=True, err=True)
    stop_poc(folder)
    Disk().rmtree(folder)
    if folder.exists():
        raise NotRemoved("some of it could not be removed", where=str(folder))
    click.echo(f"{folder} is gone")
