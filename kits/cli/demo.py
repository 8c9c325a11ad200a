"""`sundog demo`: the main job on real processes, from nothing to its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ...kernel.errors import CommandLineError
from ..poc.layout import DEFAULT_TRANSPORT, TRANSPORTS, Poc, Transport

if TYPE_CHECKING:
    from ..admin.session import Session
    from ..protocol.answers import JobReport
    from .outcome import Rounds

JOB = Path(__file__).resolve().parents[2] / "examples" / "hello-pt-tb"
NEEDED = ("torch", "tensorboard", "sklearn")
"""What the job's own code imports."""


class DemoIncomplete(CommandLineError):
    """The demo's job cannot run here.

    Cause: Sundog was installed without what its examples need.

    Cure: pip install "sundog[torch,tensorboard,examples]"; in a clone of the repository, `make demo` does it.
    """

    code = "SD-7021"


@click.command()
@click.option("--transport", type=click.Choice(TRANSPORTS), default=DEFAULT_TRANSPORT, help="By which they speak.", show_default=True)
@click.option("--sites", type=click.IntRange(1, 100), default=2, help="How many.", show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, metavar="S", help="Another one, other numbers.", show_default=True)
@click.option(
    "-w", "folder", type=click.Path(path_type=Path), default=Path("sundog-demo"), metavar="DIR", help="Where results stay.",
    show_default=True,
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
def command(*, transport: Transport, sites: int, seed: int, folder: Path, as_json: bool) -> int:
    """Train a small network with sites that are real processes on this machine; nothing keeps running, results stay.

    The folder is a federation as `sundog poc` makes it, with free ports. What demos before this one left in it stays.
    The exit status tells how the job ended, as that of `sundog` says.
    """
    from ..admin.session import Session
    from ..poc.federation import Federation
    from ..supervisor.interrupts import Interrupts
    from ..workspace.log import start_command_logging
    from .failures import print_json
    from .outcome import Rounds, live

    _refuse_incomplete()
    start_command_logging()
    out = live(as_json=as_json)
    with Interrupts() as interrupts:
        _make(folder, Poc(sites=sites, transport=transport, fl_port=0, admin_port=0))
        job = _job(folder, sites, seed)
        with Federation(folder, interrupts) as federation:
            click.echo(f"starting a server and {sites} sites", file=out)
            federation.start()
            with Session(folder / "admin") as session:
                federation.wait_registered(session)
                with interrupts.allowed():
                    report = _train(session, job, Rounds(out))
    if as_json:
        print_json(report)
    return report.exit_status


def _refuse_incomplete() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing or not JOB.is_dir():
        raise DemoIncomplete(f"there is no {' and no '.join(missing or [str(JOB)])}")


def _make(folder: Path, poc: Poc) -> None:
    """The federation's folder; its kits are written anew, since ports that were free may be taken by now."""
    from ..poc.federation import refuse_running
    from ..poc.layout import is_poc, refuse_strangers, write_poc

    refuse_strangers(folder)
    if is_poc(folder):
        refuse_running(folder)
    write_poc(folder, poc)


def _job(folder: Path, sites: int, seed: int) -> Path:
    """The example where the admin looks for jobs, with so many sites to share its data out among."""
    job = folder / "admin" / "transfer" / JOB.name
    shutil.rmtree(job, ignore_errors=True)
    shutil.copytree(JOB, job, ignore=shutil.ignore_patterns("__pycache__"))
    meta, config = job / "meta.json", job / "app" / "config" / "config_fed_client.json"
    _change(meta, lambda document: document | {"seed": seed, "min_clients": sites})
    _change(config, partial(_shared_out, sites))
    return job


def _shared_out(sites: int, document: dict[str, Any]) -> dict[str, Any]:
    learner = next(part for part in document["components"] if part["id"] == "pt_learner")
    learner["args"]["sites"] = sites
    return document


def _change(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8"))), indent=2) + "\n", encoding="utf-8")


def _train(session: Session, job: Path, rounds: Rounds) -> JobReport:
    """Submit the job, show its rounds, fetch its result; the report, with the model's absolute path in the result."""
    job_id = session.submit_job(job.absolute())
    report = session.monitor_job(job_id, rounds.show)
    result = Path(session.download_job(job_id).folder) / "workspace"
    if report.model_path:
        report = msgspec.structs.replace(report, model_path=str(result / report.model_path))
    rounds.end(report, result)
    return report
