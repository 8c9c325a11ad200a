"""`sundog job check JOB`."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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
LAST_WORDS_BYTES = 64 * 1024
"""Of what the job's code prints; it may print without end."""
DOCUMENT_BYTES = 16 * 1024 * 1024
"""Of the document that the check gives; it grows with the mistakes."""


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
            status, document, errors = _run([*CHECKER, str(job.absolute())], folder, environment)
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"the job's code was not through after {CHECK_SECONDS:g} s", where=str(job)) from None
    try:
        return msgspec.json.decode(document, type=JobCheck)
    except (msgspec.DecodeError, RecursionError):
        said = errors.decode(errors="replace").strip()[-LAST_WORDS_CHARACTERS:]
        raise CheckFailed(f"the process that checked it ended with status {status}:\n{said}", where=str(job)) from None


def _run(command: list[str], folder: str, environment: dict[str, str]) -> tuple[int, bytearray, bytearray]:
    """Run a command. Returns its status and the ends of its output and of its errors; what comes before them is dropped.

    Raises:
        subprocess.TimeoutExpired: it, or what it started, was not through in time; it is killed.
    """
    deadline = time.monotonic() + CHECK_SECONDS
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        ends = {pipe.fileno(): bytearray() for pipe in (process.stdout, process.stderr) if pipe is not None}
        most = dict(zip(ends, (DOCUMENT_BYTES, LAST_WORDS_BYTES), strict=True))
        try:
            for descriptor, data in _read_to_the_end(list(ends), deadline):
                ends[descriptor] += data
                del ends[descriptor][: -most[descriptor]]
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except BaseException:  # an interrupt too: nothing of the job's goes on
            process.kill()
            raise
    document, errors = ends.values()
    return status, document, errors


def _read_to_the_end(descriptors: list[int], deadline: float) -> Iterator[tuple[int, bytes]]:
    """Pieces of what pipes give, each with its descriptor, until they have all ended."""
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired(CHECKER, CHECK_SECONDS)
            for key, _ in ready:
                data = os.read(key.fd, LAST_WORDS_BYTES)
                yield key.fd, data
                if not data:
                    selector.unregister(key.fd)


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
