"""What do people read as the answer to a command? Tables on a terminal, plain columns anywhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TextIO

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...kernel.wording import printable
from ..protocol.answers import (
    AbortedJob,
    ClonedJob,
    DeletedJob,
    JobList,
    JobReport,
    JobRow,
    Numbers,
    Problem,
    RoundReport,
    ServerStatus,
    SessionList,
    SitesStatus,
    SubmittedJob,
)
from ..protocol.file_answers import FileDetail, FileList, FileRow, FileText, WorkingFolder
from .answers import DownloadedJob

Piece = str | Table
"""A line, or a table."""
WIDE = 10_000
"""Columns of a file or a pipe: no row is ever broken there."""


def show(pieces: Iterable[Piece], out: TextIO) -> None:
    """Write what a renderer below gives. What came from outside cannot move the cursor or set colours."""
    is_terminal = out.isatty()
    console = Console(file=out, width=None if is_terminal else WIDE, markup=False, highlight=False, emoji=False)
    for piece in pieces:
        if isinstance(piece, Table) and _narrowest(piece) > console.width:
            console.print("\n\n".join(_records(piece)), soft_wrap=True)
        elif isinstance(piece, Table):
            piece.box = box.SIMPLE_HEAD if is_terminal else None
            console.print(piece)
        else:
            out.write(f"{piece}\n")
        out.flush()


def server_status(answer: ServerStatus) -> Iterator[Piece]:
    """`check_status server`."""
    yield f"Engine status: {answer.engine_status}"
    if answer.jobs:
        yield _table(["JOB_ID", "APP NAME"], ([row.job_id, row.app_name] for row in answer.jobs))
    yield f"Registered clients: {answer.registered_clients}"
    if answer.clients:
        rows = ([row.client, row.token, moment(row.last_connect_time)] for row in answer.clients)
        yield _table(["CLIENT", "TOKEN", "LAST CONNECT TIME"], rows)


def status(answer: ServerStatus | SitesStatus) -> Iterator[Piece]:
    """`check_status`."""
    if isinstance(answer, ServerStatus):
        yield from server_status(answer)
    elif not answer.clients:
        yield "No clients."
    else:
        rows = ([row.client, row.app_name, row.job_id, _with(row.status, row.reason)] for row in answer.clients)
        yield _table(["CLIENT", "APP_NAME", "JOB_ID", "STATUS"], rows)


def sessions(answer: SessionList) -> Iterator[Piece]:
    """`list_sessions`."""
    rows = (
        [row.user, row.session_id, moment(row.start_time), moment(row.last_active_time), f"{row.idle_seconds:.0f} s"]
        for row in answer.sessions
    )
    yield _table(["USER", "SESSION ID", "START", "LAST ACTIVE", "IDLE"], rows)


def submitted(answer: SubmittedJob) -> Iterator[Piece]:
    """`submit_job`."""
    yield f"Submitted job: {answer.job_id}"


def job_list(answer: JobList) -> Iterator[Piece]:
    """`list_jobs`; with details, one JSON document a job."""
    if not answer.jobs:
        yield "No jobs."
    elif answer.jobs[0].detail is not None:
        yield from (printable(_pretty(row), keep="\n") for row in answer.jobs)
    else:
        yield _table(["JOB ID", "NAME", "STATUS", "SUBMIT TIME", "RUN DURATION", "REASON"], map(_job_cells, answer.jobs))


def aborted(answer: AbortedJob) -> Iterator[Piece]:
    """`abort_job`."""
    yield f"Aborted job: {answer.job_id}"


def deleted(answer: DeletedJob) -> Iterator[Piece]:
    """`delete_job`."""
    yield f"Deleted job: {answer.job_id}"


def cloned(answer: ClonedJob) -> Iterator[Piece]:
    """`clone_job`."""
    yield f"Cloned job: {answer.cloned_from}"
    yield f"Submitted job: {answer.job_id}"


def downloaded(answer: DownloadedJob) -> Iterator[Piece]:
    """`download_job`."""
    yield f"Downloaded to: {printable(answer.folder)} ({answer.files} files, {answer.size_bytes:,} bytes)"


def report(answer: JobReport) -> Iterator[Piece]:
    """`get_job_report`."""
    yield f"Job: {answer.job_id} {printable(answer.name)}"
    yield f"Status: {_with(answer.status, answer.reason or answer.waits_for)}"
    yield f"Seconds: {answer.seconds:.2f}"
    if answer.sites:
        yield f"Sites: {_names(answer.sites)}"
    if answer.metrics:
        yield f"Metrics: {_numbers(answer.metrics)}"
    if answer.model_sha256:
        yield f"Model: {printable(answer.model_path)} (sha256 {answer.model_sha256})"
    if answer.rounds:
        headings = ["WORKFLOW", "ROUND", "SECONDS", "USED", "LATE", "MISSING", "REJECTED", "METRICS"]
        yield _table(headings, map(_round_cells, answer.rounds))
        yield from (f"Note: {row.workflow}, round {row.round}: {printable(note)}" for row in answer.rounds for note in row.notes)
    for heading, problem in [("Failed", answer.failure), *(("Went wrong besides", fault) for fault in answer.faults)]:
        if problem is not None:
            yield f"{heading}:"
            yield from trouble(problem)


def working_folder(answer: WorkingFolder) -> Iterator[Piece]:
    """`pwd`."""
    yield printable(answer.folder)


def file_list(answer: FileList) -> Iterator[Piece]:
    """`ls`."""
    if any(row.detail is not None for row in answer.files):
        yield _table(["MODE", "BYTES", "MODIFIED", "NAME"], map(_file_cells, answer.files))
    else:
        yield from (printable(_file_name(row)) for row in answer.files)
    if not answer.is_complete:
        yield f"({len(answer.files)} names are shown, and there are more)"


def file_text(answer: FileText) -> Iterator[Piece]:
    """`cat`, `head`, `tail` and `grep`."""
    if answer.text:
        yield printable(answer.text.removesuffix("\n"), keep="\n\t")
    if answer.left_out_bytes:
        yield f"({answer.left_out_bytes:,} bytes more are not shown)"


def trouble(problem: Problem) -> Iterator[Piece]:
    """An error: its code and what happened, the place, the next step."""
    what = printable(problem.what, keep="\n")
    yield f"[{problem.code}] {what}"
    if problem.place:
        yield f"  where: {printable(problem.place)}"
    if problem.cure:
        yield f"  cure:  {printable(problem.cure)}"


def moment(seconds: float) -> str:
    """A time for people, in the zone of this machine."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def _table(headings: list[str], rows: Iterable[list[str]]) -> Table:
    table = Table(pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading.replace("_", " ") in ("JOB ID", "STATUS", "SUBMIT TIME"), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _narrowest(table: Table) -> int:
    """Columns of a terminal in which a table can still be read: what must stand in one line, and a word of the rest."""
    headings = [str(column.header) for column in table.columns]
    cells = [list(map(str, column.cells)) if column.no_wrap else [] for column in table.columns]
    return sum(max(8, *map(len, [heading, *its])) for heading, its in zip(headings, cells, strict=True)) + 3 * (len(headings) - 1)


def _records(table: Table) -> Iterator[str]:
    """Its rows for a terminal that is too narrow: a line for each cell that is not empty."""
    headings = [str(column.header) for column in table.columns]
    widest = max(map(len, headings))
    for row in zip(*(column.cells for column in table.columns), strict=True):
        yield "\n".join(f"{heading:<{widest}}  {cell}" for heading, cell in zip(headings, row, strict=True) if str(cell))


def _job_cells(row: JobRow) -> list[str]:
    duration = str(timedelta(seconds=round(row.duration_seconds)))
    return [row.job_id, row.name, row.status, moment(row.submit_time), duration, row.reason.partition("\n")[0]]


def _file_name(row: FileRow) -> str:
    return row.path + {"folder": "/", "link": "@"}.get(row.kind, "")


def _file_cells(row: FileRow) -> list[str]:
    detail = row.detail or FileDetail("", 0, 0.0)
    return [detail.mode, str(detail.size_bytes), moment(detail.modified_time), _file_name(row)]


def _round_cells(row: RoundReport) -> list[str]:
    rejected = ", ".join(f"{site} ({why})" for site, why in row.rejected.items())
    metrics = _numbers(row.own_metrics) or "; ".join(f"{site}: {_numbers(numbers)}" for site, numbers in row.metrics.items())
    return [row.workflow, str(row.round), f"{row.seconds:.2f}", _names(row.used), _names(row.late), _names(row.missing), rejected, metrics]


def _names(names: Iterable[str]) -> str:
    return printable(", ".join(names))


def _numbers(numbers: Numbers) -> str:
    return printable(", ".join(f"{name}={'nan' if value is None else format(value, '.6g')}" for name, value in numbers.items()))


def _with(word: str, reason: str) -> str:
    return f"{word} ({printable(reason)})" if reason else word


def _pretty(row: JobRow) -> str:
    return json.dumps(msgspec.to_builtins(row), indent=2, ensure_ascii=False)
