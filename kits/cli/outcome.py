"""What becomes of a job's end on the command line: an exit status, one JSON document, or words as the rounds go by."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import click

from ..protocol.answers import JobReport, RoundReport
from ..protocol.records import Status
from .failures import FAILED, printable, words

EXIT_STATUS = {
    str(Status.COMPLETED): 0,
    str(Status.DEGRADED): 3,
    str(Status.ABORTED): 4,
    str(Status.EXECUTION_EXCEPTION): 5,
    str(Status.CANNOT_SCHEDULE): 6,
}
"""End state of a job → the exit status of what ran it (DESIGN §8)."""


def exit_status(report: JobReport) -> int:
    """The exit status that tells how a job ended."""
    return EXIT_STATUS.get(report.status, FAILED)


class Rounds:
    """Writes a line a round as a job goes on, and one for each change of its state.

    Args:
        out: where to; colours only if it is a terminal and NO_COLOR is not set.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._has_colours = out.isatty() and not os.environ.get("NO_COLOR")
        self._told = 0
        self._state = ""

    def show(self, report: JobReport) -> None:
        """Tell what is new in a report."""
        for done in report.rounds[self._told :]:
            self._round(done)
        self._told = len(report.rounds)
        state = report.waits_for or report.status
        if state != self._state and not report.is_end:
            self._state = state
            self._line(f"{report.name}: {state}", dim=True)

    def end(self, report: JobReport, folder: Path) -> None:
        """Tell how it ended and why, and where things are.

        Args:
            folder: the run's, in which the report's paths are.
        """
        why = f" ({report.reason})" if report.reason else ""
        self._line(f"{report.name}: {report.status}{why} after {report.seconds:.1f} s", bold=True)
        for problem in [*([report.failure] if report.failure else []), *report.faults]:
            self._line(words(problem))
        if report.metrics:
            self._line(f"  {_numbers(report.metrics)}")
        places = {"model": report.model_path, "report": "report.json", "TensorBoard": "tb_events"}
        for what, place in places.items():
            if place and (folder / place).exists():
                self._line(f"  {what + ':':<12} {folder.absolute() / place}")

    def _round(self, done: RoundReport) -> None:
        sites = f"{len(done.used)} of {len(done.invited)} sites"
        numbers = _numbers(done.own_metrics) or "; ".join(f"{site}: {_numbers(its)}" for site, its in done.metrics.items())
        self._line(f"  {done.workflow}  round {done.round}  {sites}  {done.seconds:6.2f} s  {numbers}".rstrip())
        lost = {**dict.fromkeys(done.missing, "missing"), **dict.fromkeys(done.late, "late"), **done.rejected}
        for site, reason in lost.items():
            self._line(f"    without {site}: {reason}")

    def _line(self, text: str, **style: bool) -> None:
        line = printable(text)
        click.echo(click.style(line, **style) if self._has_colours else line, file=self._out)
        self._out.flush()


def live(*, as_json: bool) -> TextIO:
    """Where a command tells what goes on: stdout, unless that is for a document."""
    return sys.stderr if as_json else sys.stdout


def _numbers(numbers: Mapping[str, float | None]) -> str:
    return "  ".join(f"{name} {'nan' if value is None else format(value, '.4g')}" for name, value in numbers.items())
