"""What a site does with each message of its server: the handler of its link."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ...kernel.errors import MAX_WHAT_CHARACTERS
from ...kernel.messages import Message
from ...kernel.wording import cut
from ...transports.link import DialerHandler, Link
from ...transports.link.refusals import Refused
from ..protocol.messages import (
    AbortRun,
    AbortTask,
    Ask,
    Cancel,
    Check,
    Deploy,
    PeerMessage,
    RunEnded,
    StartRun,
    Stored,
    Sync,
    TaskFor,
    Unknown,
    Verdicts,
    Withdraw,
    refuse_unless_said,
)
from . import run_events as ev

if TYPE_CHECKING:
    from .site import Site

log = structlog.get_logger()


class ServerEvents(DialerHandler):
    """Passes messages to the run they are for."""

    understands = PeerMessage

    def __init__(self, site: Site) -> None:
        self._site = site

    def link_up(self, link: Link) -> None:
        self._site.registered()
        for program in list(self._site.runs.values()):
            program.link_up()

    def link_down(self, link: Link, reason: str) -> None:
        self._site.answers.waiting.left(lambda _: True)  # nobody hears the answers; nothing else ends
        self._site.drop_unstarted()

    def refused(self, error: Refused) -> None:
        log.error("refused_by_server", code=error.code, reason=error.what, cure=error.cure)
        self._site.on_refused(error)

    def message(self, link: Link, message: Message, body: memoryview) -> None:
        """Raises: MessageError, for a message that a server may not say to a site."""
        refuse_unless_said(message, link.peer.role, "site")
        match message:
            case Sync():
                self._on_sync(message)
            case Check():
                self._site.check(message)
            case Cancel():
                self._site.cancel(message)
            case Deploy():
                self._site.deploy(message, bytes(body))
            case StartRun():
                self._site.start_run(message)
            case Ask():
                self._site.answer(message, bytes(body))
            case Withdraw():
                self._site.answers.waiting.left(lambda number: number == message.request)
            case _:
                self._on_run_message(message, body)

    def _on_sync(self, sync: Sync) -> None:
        """Runs that the server does not run any more end here too."""
        wanted = {one.run for one in sync.runs}
        for run, program in list(self._site.runs.items()):
            if run not in wanted:
                program.over("the server does not run it any more")

    def _on_run_message(self, message: Message, body: memoryview) -> None:  # noqa: C901  # a table, one entry a message
        program = self._site.runs.get(getattr(message, "run", ""))
        if program is None:
            if isinstance(message, TaskFor):
                self._site.tell_what_runs()
            return
        match message:
            case TaskFor():
                program.on_task(message, body)
            case Verdicts():
                for task_id, verdict, reason in message.verdicts:
                    if verdict == "rejected":
                        log.warning("result_rejected", run=message.run, task=task_id, reason=reason)
                    program.feed(ev.VerdictHeard(task_id, program.is_current(message.term)))
            case Unknown():
                program.feed(ev.VerdictHeard(message.task_id, is_current=True, is_unknown=True))
            case AbortTask():
                program.feed(ev.TaskAborted(message.task_id, cut(message.reason, MAX_WHAT_CHARACTERS)))
            case AbortRun():
                program.over(cut(message.reason, MAX_WHAT_CHARACTERS))
            case RunEnded():
                program.over("")
            case Stored():
                pass  # the server has the result; the outbox keeps it until there is a verdict
