"""What do people read while a command still goes on, line by line as it happens?"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ...kernel.wording import printable
from .answers import RunLog
from .progress import Progress, ending, numbers
from .session import Session
from .text import Piece, trouble

KEPT_CHARACTERS = 1024 * 1024
"""Of a log that becomes one document, so much of the end is kept."""
LINE_CHARACTERS = 64 * 1024
"""A line that is longer is shown in pieces."""


def monitored(session: Session, job_id: str) -> Iterator[Piece]:
    """`monitor_job`: each change of the job's state, each round, and how it ended."""
    progress = Progress()
    for report in session.reports(job_id):
        yield from map(printable, [*progress.state(report), *progress.rounds(report)])
        if report.is_end:
            yield printable(ending(report))
            if report.metrics:
                yield printable(f"  {numbers(report.metrics)}")
            for problem in [*([report.failure] if report.failure else []), *report.faults]:
                yield from trouble(problem)


def logged(session: Session, job_id: str, site: str, *, follow: bool) -> Iterator[Piece]:
    """`logs`: whole lines, as they come."""
    line = ""
    for text in session.logs(job_id, site, follow=follow):
        *whole, line = (line + text).rsplit("\n", 1)
        yield from (printable(lines, keep="\n\t") for lines in whole)
        if len(line) > LINE_CHARACTERS:
            yield printable(line, keep="\t")
            line = ""
    if line:
        yield printable(line, keep="\t")


def log(session: Session, job_id: str, site: str, *, follow: bool) -> RunLog:
    """`logs --json`: the end of it, when it is there."""
    pieces: deque[str] = deque()
    kept = left_out = 0
    for text in session.logs(job_id, site, follow=follow):
        pieces.append(text)
        kept += len(text)
        while kept - len(pieces[0]) >= KEPT_CHARACTERS:
            left_out += len(pieces[0])
            kept -= len(pieces.popleft())
    whole = "".join(pieces)
    shown = whole[-KEPT_CHARACTERS:]
    return RunLog(session.job_report(job_id).job_id, site or "server", shown, left_out + len(whole) - len(shown))


def log_text(answer: RunLog) -> Iterator[Piece]:
    """What `logs --json` gives, for people."""
    yield printable(answer.text.removesuffix("\n"), keep="\n\t")
