"""`sundog simulate JOB`."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.argument("job", type=click.Path(path_type=Path))
@click.option("-n", "sites", type=click.IntRange(1, 10_000), default=2, metavar="N", help="How many virtual sites.", show_default=True)
@click.option(
    "-w", "folder", type=click.Path(path_type=Path), default=Path("sundog-simulation"), metavar="DIR", help="Where results stay.",
    show_default=True,
)  # fmt: skip
@click.option(
    "--engine",
    type=click.Choice(["inproc"]),
    default="inproc",
    expose_value=False,
    help="Where job code runs: in this process.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="S", help="Instead of the one in meta.json.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
def command(job: Path, *, sites: int, folder: Path, seed: int | None, as_json: bool) -> int:
    """Run a job with virtual sites in one process; breakpoint() works in its code.

    The exit status tells how the job ended, as that of `sundog` says.
    """
    from ..workspace.job_folder import read_job
    from ..workspace.log import start_command_logging
    from ..workspace.posix import thread_environment
    from .failures import print_json
    from .outcome import Rounds, live, stdout_for_document

    start_command_logging()
    meta = read_job(job).meta
    os.environ.update(thread_environment(meta.threads))  # before numpy is imported: it counts them once
    from ..simulator.simulate import simulate

    rounds = Rounds(live(as_json=as_json))
    with stdout_for_document(as_json=as_json):
        report = simulate(job, sites=sites, workspace=folder, seed=seed, watch=rounds.show)
    rounds.end(report, folder / "server" / "runs" / report.job_id)
    if as_json:
        print_json(report)
    return report.exit_status
