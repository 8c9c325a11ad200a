"""What becomes of a job's end on the command line: an exit status, one JSON document, or words as the rounds go by."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from ...kernel.wording import printable
from ..commands.progress import Progress, ending, numbers
from ..protocol.answers import JobReport
from .failures import words


class Rounds:
    """Writes a line a round as a job goes on, and one for each change of its state.

    Args:
        out: where to; colours only if it is a terminal and NO_COLOR is not set.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._has_colours = out.isatty() and not os.environ.get("NO_COLOR")
        self._progress = Progress()

    def show(self, report: JobReport) -> None:
        """Tell what is new in a report."""
        for line in self._progress.state(report):
            self._line(line, dim=True)
        for line in self._progress.rounds(report):
            self._line(line)

    def end(self, report: JobReport, folder: Path) -> None:
        """Tell how it ended and why, and where things are.

        Args:
            folder: the run's, in which the report's paths are.
        """
        self._line(ending(report), bold=True)
        for problem in [*([report.failure] if report.failure else []), *report.faults]:
            self._line(words(problem))
        if report.metrics:
            self._line(f"  {numbers(report.metrics)}")
        places = {"model": report.model_path, "report": "report.json", "TensorBoard": "tb_events"}
        for what, place in places.items():
            if place and (folder / place).exists():
                self._line(f"  {what + ':':<12} {folder.absolute() / place}")

    def _line(self, text: str, **style: bool) -> None:
        line = printable(text, keep="\n")
        click.echo(click.style(line, **style) if self._has_colours else line, file=self._out)
        self._out.flush()


@contextmanager
def stdout_for_document(*, as_json: bool) -> Iterator[None]:
    """With `--json`, send to stderr what is written to stdout within the block: by job code, native code and their children, too."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()  # what job code printed last
        os.dup2(stdout, 1)
        os.close(stdout)


def live(*, as_json: bool) -> TextIO:
    """Where a command tells what goes on: stdout, unless that is for a document."""
    return sys.stderr if as_json else sys.stdout
