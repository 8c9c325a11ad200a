"""Whose log of a run does an admin ask for: that of the server's part, or that of a site's, which is asked?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ...kernel.errors import AdminError
from ...transports.link import Link
from ..protocol.file_answers import LogPiece
from ..protocol.messages import Ask
from ..protocol.records import Status
from ..protocol.requests import ReadLog
from .files import SERVER
from .questions import ANSWER_SECONDS

if TYPE_CHECKING:
    from .server import Server

NOT_STARTED = (Status.SUBMITTED, Status.DISPATCHED)


class NoPart(AdminError):
    """A site has no log of a job, because it has no part in it.

    Cause: the job has not been sent to any site yet, or not to this one; or the name is misspelt.

    Cure: `list_jobs -d` shows the sites of a job.
    """

    code = "SD-6009"


async def read_log(server: Server, link: Link, asked: ReadLog) -> LogPiece:
    """A part of the log; one that is to be followed begins when the job has started.

    Raises:
        NoPart: the job was not sent to the site.
        SiteDoesNotAnswer, RemoteError: the site is away, or refuses.
    """
    table = server.jobs.table
    job_id = table.find(asked.job_id).id
    if asked.follow:
        await server.jobs.wait_until(lambda: table.find(job_id).status not in NOT_STARTED)
    asked = msgspec.structs.replace(asked, job_id=job_id)
    if asked.site in ("", SERVER):
        return await server.logs.read(asked)
    if asked.site not in table.find(job_id).extra.get("sites", ()):
        raise NoPart("the job was not sent there", where=asked.site)
    seconds = None if asked.follow else ANSWER_SECONDS
    return await server.questions.ask(asked.site, Ask("", asked.command, link.peer.name), asked, LogPiece, seconds)
