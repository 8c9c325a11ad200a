"""How does one look on while a job runs? Its state, its rounds and its sites, drawn anew in place whenever something has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ...kernel.wording import printable
from ..admin.session import Session
from ..protocol.answers import JobReport, Numbers, RoundReport

MAX_NOTES = 3
LINES_BESIDE_ROUNDS = 8
"""The rest of the view: what the job is, headings, the frame, a word on how to leave."""


def watch(session: Session, job_id: str, out: TextIO) -> JobReport:
    """Show a job on a terminal until it has ended; its report. An interrupt ends the view, not the job.

    Raises:
        RemoteError: there is no such job.
        NotSent, OutcomeUnknown: the server is away, and was not there from the beginning.
    """
    console = Console(file=out, markup=False, highlight=False, emoji=False, no_color=bool(os.environ.get("NO_COLOR")))
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        return session.monitor_job(job_id, lambda report: live.update(view(report, console.height), refresh=True))


def view(report: JobReport, height: int) -> RenderableType:
    """What is shown of a job on a terminal of so many lines: the last rounds that there is room for."""
    notes = [f"Note: {row.workflow}, round {row.round}: {note}" for row in report.rounds for note in row.notes][-MAX_NOTES:]
    room = max(1, height - LINES_BESIDE_ROUNDS - len(notes))
    parts: list[RenderableType] = [Text(printable(line)) for line in _heading(report)]
    if report.rounds:
        hidden = len(report.rounds) - room
        if hidden > 0:
            parts.append(Text(f"({_count(hidden, 'round')} before these)", style="dim"))
        parts.append(_rounds(report.rounds[-room:]))
    parts += [Text(printable(note), no_wrap=True, overflow="ellipsis") for note in notes]
    if not report.is_end:
        parts.append(Text("Ctrl-C leaves this view; the job goes on.", style="dim"))
    return Group(*parts)


def _heading(report: JobReport) -> Iterator[str]:
    state = report.reason or report.waits_for
    yield f"{report.name}  {report.job_id}"
    yield f"{report.status}{f' ({state})' if state else ''}  {report.seconds:.1f} s  {_count(len(report.rounds), 'round')}"
    if report.sites:
        yield f"Sites: {', '.join(report.sites)}"
    if report.metrics:
        yield f"Metrics: {_numbers(report.metrics)}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _rounds(rounds: list[RoundReport]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("WORKFLOW", "ROUND", "SITES", "SECONDS", "METRICS"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("ROUND", "SECONDS") else "left")
    for row in rounds:
        metrics = _numbers(row.own_metrics) or "; ".join(f"{site}: {_numbers(its)}" for site, its in row.metrics.items())
        cells = [row.workflow, str(row.round), f"{len(row.used)} of {len(row.invited)}", f"{row.seconds:.2f}", metrics]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _numbers(numbers: Numbers) -> str:
    return ", ".join(f"{name}={'nan' if value is None else format(value, '.4g')}" for name, value in numbers.items())
