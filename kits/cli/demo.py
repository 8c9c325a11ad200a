"""`sundog demo`: the main job on real processes, from nothing to its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
import msgspec

from ...kernel.errors import CommandLineError
from ..poc.layout import DEFAULT_TRANSPORT, TRANSPORTS, Poc, Transport

if TYPE_CHECKING:
    from ..poc.federation import Federation
    from ..protocol.answers import JobReport

JOB = "hello-pt-tb"
DEFAULT_FOLDER = Path("sundog-demo")


class NoDemoJob(CommandLineError):
    """The demo's job is not here.

    Cause: Sundog was installed without its examples, which lie beside the sources.

    Cure: clone the repository and run `make demo` there.
    """

    code = "SD-7060"


@click.command()
@click.option("--transport", type=click.Choice(TRANSPORTS), default=DEFAULT_TRANSPORT, help="By which they speak.", show_default=True)
@click.option("--sites", type=click.IntRange(1, 100), default=2, help="How many.", show_default=True)
@click.option(
    "-w", "folder", type=click.Path(path_type=Path), default=DEFAULT_FOLDER, metavar="DIR", help="Where all is.", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
def command(*, transport: Transport, sites: int, folder: Path, as_json: bool) -> int:
    """Train a small network with sites that are real processes on this machine; nothing keeps running, results stay.

    The folder is a federation as `sundog poc` makes it; it is made anew each time.
    """
    from ..poc.federation import Federation, refuse_running
    from ..poc.layout import is_poc, make_poc, refuse_strangers
    from ..supervisor.interrupts import Interrupts
    from ..workspace.log import start_command_logging
    from .failures import print_json
    from .outcome import exit_status, live

    job = _job()
    start_command_logging()
    refuse_strangers(folder)
    if is_poc(folder):
        refuse_running(folder)
    make_poc(folder, Poc(sites=sites, transport=transport, fl_port=0, admin_port=0))
    with Interrupts() as interrupts, Federation(folder, interrupts) as federation:
        federation.start()
        report = _train(federation, job, folder, live(as_json=as_json))
    if as_json:
        print_json(report)
    return exit_status(report)


def _job() -> Path:
    job = Path(__file__).resolve().parents[2] / "examples" / JOB
    if not job.is_dir():
        raise NoDemoJob("wanted the example's folder", where=str(job))
    return job


def _train(federation: Federation, job: Path, folder: Path, out: TextIO) -> JobReport:
    """Submit the job, show its rounds, fetch its result; the report, with the model's place in the result."""
    from ..admin.session import Session
    from .outcome import Rounds

    rounds = Rounds(out)
    with Session(folder / "admin") as session:
        federation.wait_registered(session)
        job_id = session.submit_job(job)
        report = session.monitor_job(job_id, rounds.show)
        rounds.end(report)
        session.download_job(job_id)
    result = (folder / "admin" / "transfer" / job_id / "workspace").resolve()
    for what, path in (("model", report.model_path), ("report", "report.json"), ("TensorBoard logs", "tb_events")):
        click.echo(f"{what + ':':18}{result / path}", file=out)
    return msgspec.structs.replace(report, model_path=str(result / report.model_path))
