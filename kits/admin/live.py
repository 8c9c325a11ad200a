"""What do people read while a command still goes on, line by line as it happens?"""

from __future__ import annotations

from collections.abc import Iterator

from .progress import Progress, ending, numbers
from .session import Session
from .text import Piece, printable, trouble


def monitored(session: Session, job_id: str) -> Iterator[Piece]:
    """`monitor_job`: each change of the job's state, each round, and how it ended."""
    progress = Progress()
    for report in session.reports(job_id):
        yield from map(printable, [*progress.rounds(report), *progress.state(report)])
        if report.is_end:
            yield printable(ending(report))
            if report.metrics:
                yield printable(f"  {numbers(report.metrics)}")
            for problem in [*([report.failure] if report.failure else []), *report.faults]:
                yield from trouble(problem)
