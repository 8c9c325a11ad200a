"""What the server does with each message of a site or an admin: the handler of its links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from ...kernel.errors import Failure, JobError
from ...kernel.messages import Message
from ...transports.link import Handler, Link
from ..protocol.messages import (
    Answer,
    Checked,
    Command,
    Deployed,
    Free,
    Grew,
    Offer,
    PeerMessage,
    RunEnded,
    RunSync,
    SiteFailed,
    Started,
    Sync,
    Withdraw,
    refuse_unless_said,
)

if TYPE_CHECKING:
    from .server import Server

log = structlog.get_logger()


class RunNotHere(JobError):
    """A site has no part in a run that its server counts it in.

    Cause: the site was restarted while the job ran.

    Cure: submit the job again; with a policy that can do without the site ("require", "on_missing") the others go on.
    """

    code = "SD-4204"


class SiteEvents(Handler):
    """Passes messages to the run or the dispatcher they are for. The author of a message is its link's peer, never a field."""

    understands = PeerMessage

    def __init__(self, server: Server) -> None:
        self._server = server

    def link_up(self, link: Link) -> None:
        log.info("registered", peer=str(link.peer), instance=link.peer.instance)
        if link.peer.role == "admin":
            self._server.sessions.opened(link)
        if link.peer.role == "site":
            self._server.site_up(link)
            wanted = [RunSync(program.run.run, [], []) for program in self._server.runs_with(link.peer.name)]
            link.send(Sync(wanted))

    def link_down(self, link: Link, reason: str) -> None:
        if link.peer.role == "admin":  # what is not answered is asked again when the link is back
            self._server.commands.waiting.left(lambda who: who[0] is link)
        if link.peer.role == "site":
            self._server.site_down(link)
            self._server.dispatcher.site_lost(link.peer.name)
            self._server.questions.site_lost(link.peer.name)
            for program in self._server.runs_with(link.peer.name):
                program.site_down(link.peer.name)
            self._server.jobs.moved()

    def message(self, link: Link, message: Message, body: memoryview) -> None:
        """Raises: MessageError, for a message that the peer's role may not say."""
        refuse_unless_said(message, link.peer.role, "server")
        site = link.peer.name
        match message:
            case Sync():
                self._on_sync(link, message)
            case Checked() | Deployed() | Started():
                self._server.dispatcher.answered(site, message)
            case Free():
                self._server.dispatcher.free_now(site, message.free)
            case SiteFailed():
                self._on_failed(site, message)
            case Offer():
                self._on_offer(link, message, body)
            case Grew():
                self._on_grew(link, message)
            case Answer():
                self._server.questions.answered(site, message, bytes(body))
            case Command():
                self._server.command(link, message, bytes(body))
            case Withdraw():
                self._server.commands.waiting.left(lambda who: who == (link, message.request))

    def _on_sync(self, link: Link, sync: Sync) -> None:
        site = link.peer.name
        said = {one.run: one for one in sync.runs}
        self._server.dispatcher.synced(site, said, sync.free)
        for program in self._server.runs_with(site):
            run = program.run.run
            one = said.pop(run, None)
            if one is None and self._server.dispatcher.is_starting(run, site):
                program.not_silent(site)
                continue  # StartRun was lost with the link, or is on its way: the dispatcher sees to it
            if one is None and program.run.outcome is None and site not in program.run.excluded:
                program.site_cannot(site, Failure.of(RunNotHere("the run is not at work here")))
            program.site_up(site, one.working if one else [], one.kept if one else [])
        for run in said:
            link.send(RunEnded(run, "the server does not run it"))
        self._server.jobs.moved()

    def _on_failed(self, site: str, message: SiteFailed) -> None:
        program = self._server.runs.get(message.run)
        if program is not None and site in program.run.sites:
            program.site_cannot(site, message.failure)

    def _on_offer(self, link: Link, message: Offer, body: memoryview) -> None:
        program = self._server.runs.get(message.run)
        if program is None or link.peer.name not in program.run.sites:
            link.send(RunEnded(message.run, "the server does not run it"))
            return
        if message.failure is not None:
            message.failure = msgspec.structs.replace(message.failure, site=link.peer.name)
        program.on_offer(link.peer.name, message, bytes(body))

    def _on_grew(self, link: Link, message: Grew) -> None:
        program = self._server.runs.get(message.run)
        if program is not None and link.peer.name in program.run.sites and message.stream == "metrics.jsonl":
            target = program.folder.root / "metrics" / f"{link.peer.name}.jsonl"
            self._server.streams.grew(link, message.run, message.stream, message.size, target)
