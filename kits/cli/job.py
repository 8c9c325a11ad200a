"""`sundog job check JOB`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from ...kernel.errors import CommandLineError
from ...kernel.wording import printable
from ..protocol.answers import JobCheck, Problem
from .failures import USAGE, print_json, words

CHECK_SECONDS = 60.0
"""A busy machine may need long for its imports, torch above all."""
CHECKER = (sys.executable, "-P", "-m", "sundog.kits.job.check")
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "SUNDOG_BLOCK_PLUGINS")
"""Environment variables that the job's code sees; others may hold secrets."""
LAST_WORDS_CHARACTERS = 2000


class CheckFailed(CommandLineError):
    """A job's own code kept the check from coming to its end.

    Cause: a module or a constructor of the job runs for ever, ends the process, or crashes in native code.

    Cure: let the module only define things; load data when the first task comes.
    """

    code = "SD-7024"


@click.group()
def command() -> None:
    """Look at a job before it is submitted."""


@command.command()
@click.argument("job", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check(job: Path, *, as_json: bool) -> int:
    """Tell all that can be known of a job before it is submitted: every mistake, and whom its workflows wait for.

    Its code is imported, and its workflows are constructed, in a process of their own. Status 2: there are mistakes.
    """
    checked = check_job(job)
    if as_json:
        print_json(checked)
    else:
        _show(checked)
    return USAGE if checked.mistakes else 0


def check_job(job: Path) -> JobCheck:
    """What is wrong with a job, and what is not.

    Raises:
        NoJob: the folder is none.
    """
    from ..workspace.job_folder import JobRefused, read_job

    try:
        read_job(job)
    except JobRefused as exc:
        return JobCheck(job.name, list(map(Problem.of, exc.findings)), [], [])
    try:
        return _ask_its_code(job)
    except CheckFailed as exc:
        return JobCheck(job.name, [Problem.of(exc)], [], [])


def _ask_its_code(job: Path) -> JobCheck:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="sundog-check-") as folder:
        try:
            done = subprocess.run(
                [*CHECKER, str(job.absolute())], cwd=folder, env=environment, capture_output=True, timeout=CHECK_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"the job's code was not through after {CHECK_SECONDS:g} s", where=str(job)) from None
    try:
        return msgspec.json.decode(done.stdout, type=JobCheck)
    except msgspec.DecodeError:
        said = done.stderr.decode(errors="replace").strip()[-LAST_WORDS_CHARACTERS:]
        raise CheckFailed(f"the process that checked it ended with status {done.returncode}:\n{said}", where=str(job)) from None


def _show(checked: JobCheck) -> None:
    for note in checked.notes:
        click.echo(printable(f"note: {note}"))
    for workflow in checked.workflows:
        sends = f"sends {', '.join(workflow.tasks)}" if workflow.tasks else "does not say what it sends: tasks() is missing"
        click.echo(printable(f"{workflow.app}: {workflow.workflow} {sends}; {workflow.policy}"))
    for mistake in checked.mistakes:
        click.echo(words(mistake), err=True)
    count = len(checked.mistakes)
    found = "no mistakes" if not count else "1 mistake" if count == 1 else f"{count} mistakes"
    click.echo(f"{printable(checked.name)}: {found}", err=bool(count))
