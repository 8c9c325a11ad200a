"""logs: the log of a run, at the server or at a site."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Annotated, Protocol

import msgspec

from ...kernel.errors import AdminError
from ...kernel.wording import printable
from ..protocol.answers import JobReport
from ..protocol.file_answers import LogPiece
from ..protocol.records import Status
from ..protocol.requests import Parameter, ReadLog
from .declaration import SERVER, AtServer, AtSite, Command
from .jobs import JobId
from .text import Piece

NOT_STARTED = (Status.SUBMITTED, Status.DISPATCHED)
KEPT_CHARACTERS = 1024 * 1024
"""Of a log that becomes one document, so much of the end is kept."""
LINE_CHARACTERS = 64 * 1024
"""A line that is longer is shown in pieces."""


class NoPart(AdminError):
    """A site has no log of a job, because it has no part in it.

    Cause: the job has not been sent to any site yet, or not to this one; or the name is misspelt.

    Cure: `list_jobs -d` shows the sites of a job.
    """

    code = "SD-6009"


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is typed to see a log."""

    job_id: JobId
    follow: Annotated[bool, Parameter("Go on until the run is over.", "-f")] = False
    site: Annotated[str, Parameter("The name of a site.", completes="sites")] = ""


class RunLog(msgspec.Struct, frozen=True):
    """`logs`: the log of a run at the server or a site."""

    job_id: str
    site: str
    """server, or the name of a site."""
    text: str
    left_out_characters: int
    """How many there were before: of a long log the last 1,048,576 are kept."""


class Client(Protocol):
    """What the admin's side of this command uses of a Session."""

    def logs(self, job_id: str, site: str = "", *, follow: bool = False) -> Iterator[str]: ...
    def job_report(self, job_id: str) -> JobReport: ...


async def _read(here: AtServer, asked: ReadLog) -> LogPiece:
    """A part of the log; one that is to be followed begins when the job has started.

    Raises:
        NoPart: the job was not sent to the site.
    """
    table = here.jobs.table
    job_id = table.find(asked.job_id).id
    if asked.follow:
        await here.jobs.wait_until(lambda: table.find(job_id).status not in NOT_STARTED)
    asked = msgspec.structs.replace(asked, job_id=job_id)
    if asked.site in ("", SERVER):
        return await here.logs.read(asked)
    if asked.site not in table.find(job_id).extra.get("sites", ()):
        raise NoPart("the job was not sent there", where=asked.site)
    return await here.ask(asked.site, LOGS, asked, LogPiece, waits=asked.follow)


async def _read_at_site(here: AtSite, asked: ReadLog) -> LogPiece:
    return await here.logs.read(asked)


def _log(session: Client, line: LogLine) -> RunLog:
    """The end of it, when it is there."""
    pieces: deque[str] = deque()
    kept = left_out = 0
    for text in session.logs(line.job_id, line.site, follow=line.follow):
        pieces.append(text)
        kept += len(text)
        while kept - len(pieces[0]) >= KEPT_CHARACTERS:
            left_out += len(pieces[0])
            kept -= len(pieces.popleft())
    whole = "".join(pieces)
    shown = whole[-KEPT_CHARACTERS:]
    return RunLog(session.job_report(line.job_id).job_id, line.site or SERVER, shown, left_out + len(whole) - len(shown))


def _logged(session: Client, line: LogLine) -> Iterator[Piece]:
    """Whole lines, as they come."""
    rest = ""
    for text in session.logs(line.job_id, line.site, follow=line.follow):
        *whole, rest = (rest + text).rsplit("\n", 1)
        yield from (printable(lines, keep="\n\t") for lines in whole)
        if len(rest) > LINE_CHARACTERS:
            yield printable(rest, keep="\t")
            rest = ""
    if rest:
        yield printable(rest, keep="\t")


LOGS = Command(
    name="logs", right="view", request=ReadLog, answers=(LogPiece,), server=_read, site=_read_at_site, only_waits=True,
    group="jobs", summary="Show the log of a run, at the server or at a site.",
    details="Without SITE, that of the server. With --json, the last 1,048,576 characters; with -f, when the run is over.",
    line=LogLine, client=_log, live=_logged, gives=(RunLog,), show=lambda answer: [printable(answer.text.removesuffix("\n"), keep="\n\t")],
)  # fmt: skip
