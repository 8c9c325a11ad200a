"""AdminConnection: commands to the server and their answers, also when the connection breaks in between.

Each question has an id. What is not answered when a connection is lost is sent again over the next one, under the same
id; every command may be sent twice (see `protocol.requests`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ...kernel.errors import AdminError, RemoteError, SundogError
from ...kernel.messages import MAX_LINK_FRAME_BYTES, Message
from ...kernel.transport import Connection, Security
from ...transports.endpoints import connect
from ...transports.link import Dialer, DialerHandler, Identity, Intake, Link, Timers, Writer
from ...transports.link.refusals import Refused
from ..commands.declaration import Asked, Command, Said
from ..protocol import messages
from ..protocol.messages import PeerMessage, Reply, Withdraw, refuse_unless_said
from ..supervisor.tasks import Tasks
from ..workspace.kit import AdminKit


class NotSent(AdminError):
    """A command was not sent: there is no connection to a server.

    Cause: the server is not started, or the endpoint in the kit is not where it listens.

    Cure: start the server (`startup/start.sh` in its kit), compare the endpoints in the two kits, and give the command again.
    """

    code = "SD-6010"


class NotAdmitted(NotSent):
    """A command was not sent: the only server that the kit names refuses this admin.

    Cause: the refusal is in the message: another project, another version, an unknown name.

    Cure: use the kit that was made for this server.
    """

    code = "SD-6018"


class OutcomeUnknown(AdminError):
    """A command was sent, but its answer did not come: it may have been done or not.

    Cause: the server was lost, or is very slow.

    Cure: look what is there (`list_jobs`); repeat a submission under the same request id, which never makes a second job.
    """

    code = "SD-6011"


class SessionClosed(AdminError):
    """The session was closed, before or while a command waited for its answer.

    Cause: `close` was called, or the `with` block was left.

    Cure: open another Session.
    """

    code = "SD-6012"


class AnswerUnreadable(AdminError):
    """The server's answer has another form than the one expected.

    Cause: server and admin are of different versions.

    Cure: compare `sundog --version` on both sides.
    """

    code = "SD-6013"


@dataclass(slots=True)
class _Question:
    """A command that waits for its answer."""

    command: messages.Command
    body: bytes
    answer: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_sent: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """What became of the connection: it is up, it is down, or an attempt has failed."""

    is_up: bool
    what: str
    """The server's address; why it is down."""
    error: SundogError | None = None
    """Of an attempt that failed."""


class AdminConnection(DialerHandler):
    """One admin's link to whichever server serves. Lives on the event loop that it is started on.

    Args:
        kit: who the admin is and which servers it dials.
        away_seconds: how long a command waits for a server that is not there.
        timers: every wait of the link.
    """

    understands = PeerMessage

    def __init__(self, kit: AdminKit, *, away_seconds: float, timers: Timers | None = None) -> None:
        self._kit = kit
        self._away_seconds = away_seconds
        self._timers = timers
        self._questions: dict[str, _Question] = {}
        self._waits: dict[asyncio.Timeout, float | None] = {}
        self._trouble: SundogError | None = None
        self._is_closed = False
        self._identity = Identity(kit.project, "admin", kit.name)
        self.on_news: Callable[[News], object] = lambda _: None
        """Told, on the event loop, what becomes of the connection."""
        self._undo = AsyncExitStack()
        self._tasks = Tasks(f"admin {kit.name}")

    def __repr__(self) -> str:
        return f"<AdminConnection of {self._kit.name}: {len(self._questions)} questions, {self.link!r}>"

    async def start(self) -> None:
        """Begin to dial; questions may be asked at once."""
        writer = await self._undo.enter_async_context(Writer())
        self._dialer = Dialer(
            self._identity, self._kit.endpoints, handler=self, intake=Intake(writer), timers=self._timers, connect=self._connect
        )  # fmt: skip
        self._tasks.start(self._dialer.run())

    async def close(self) -> None:
        """Say goodbye; whoever waits for an answer gets SessionClosed. Twice is fine."""
        self._is_closed = True
        for question in self._questions.values():
            _fail(question, SessionClosed("the session was closed before the answer came", where=question.command.name))
        await self._dialer.close("the session is closed")
        await self._tasks.close()
        await self._undo.aclose()

    @property
    def link(self) -> Link:
        """The link to the server, up or down."""
        return self._dialer.link

    @property
    def token(self) -> str:
        """The id of this session, new each time."""
        return self._identity.instance

    # --- questions ----------------------------------------------------------------------------------------------

    async def ask(self, command: Command[Asked, Said], request: Asked, seconds: float | None = None) -> Said:
        """Send a command and wait for its answer.

        Args:
            command: the command.
            request: its arguments.
            seconds: how long to wait; None: as long as the server is not away.

        Raises:
            NotSent, OutcomeUnknown: no answer, in time or at all.
            SessionClosed: this side was closed.
            RemoteError: the server refuses, with its code.
            AnswerUnreadable: it speaks another version.
        """
        question = _Question(messages.Command(secrets.token_hex(8), command.name), msgspec.msgpack.encode(request))
        self._questions[question.command.request] = question
        try:
            async with self.patience(seconds):
                self._send(question)
                return msgspec.msgpack.decode(await question.answer, type=command.answer_to(request))
        except TimeoutError:
            raise self._unknown(question.command.name) if question.is_sent else self._not_sent(question.command.name) from None
        except (msgspec.DecodeError, ValueError) as exc:  # ValueError: text that is not UTF-8
            raise AnswerUnreadable(str(exc), where=command.name) from exc
        finally:
            del self._questions[question.command.request]
            if question.is_sent and (not question.answer.done() or question.answer.cancelled()):
                self.link.send(Withdraw(question.command.request))

    def tell(self, command: Command[Asked, Any], request: Asked) -> None:
        """Send a command whose answer nobody waits for, if there is a connection."""
        self.link.send(messages.Command(secrets.token_hex(8), command.name), msgspec.msgpack.encode(request))

    @asynccontextmanager
    async def patience(self, seconds: float | None) -> AsyncIterator[None]:
        """Interrupt the block after so many seconds, or when the server has been away for too long.

        Raises:
            TimeoutError: it was interrupted.
            SessionClosed: it cannot begin.
        """
        if self._is_closed:
            raise SessionClosed("the session is closed")
        now = asyncio.get_running_loop().time()
        due = None if seconds is None else now + seconds
        async with asyncio.timeout_at(due if self.link.is_up else self._earlier(due)) as timeout:
            self._waits[timeout] = due
            try:
                yield
            finally:
                del self._waits[timeout]

    def _earlier(self, due: float | None) -> float:
        away = asyncio.get_running_loop().time() + self._away_seconds
        return away if due is None else min(due, away)

    def _send(self, question: _Question) -> None:
        refusal = self._refusal
        if refusal is not None:
            raise self._not_admitted(question, refusal)
        if self.link.is_up:
            self.link.send(question.command, question.body)
            question.is_sent = True

    @property
    def _refusal(self) -> Refused | None:
        """Why the only server refuses this admin for good, if it does; where there are several, another one may serve."""
        trouble = self._trouble
        return trouble if isinstance(trouble, Refused) and trouble.is_lasting and len(self._kit.endpoints) == 1 else None

    def _not_admitted(self, question: _Question, refusal: Refused) -> NotAdmitted:
        return NotAdmitted(str(refusal), where=question.command.name, cure=refusal.cure)

    def _not_sent(self, command: str) -> NotSent:
        why = f": {self._trouble}" if self._trouble is not None else ""
        return NotSent(f"no server lets this admin in at {', '.join(self._kit.endpoints)}{why}", where=command)

    def _unknown(self, command: str) -> OutcomeUnknown:
        what = "the server is slow" if self.link.is_up else "the server was lost"
        return OutcomeUnknown(f"it was sent, but no answer came: {what}", where=command)

    # --- what the link tells ------------------------------------------------------------------------------------

    async def _connect(self, address: str, security: Security | None) -> Connection:
        try:
            return await connect(address, security=security, max_frame_bytes=MAX_LINK_FRAME_BYTES)
        except SundogError as exc:
            self._trouble = exc
            self.on_news(News(is_up=False, what=str(exc), error=exc))
            raise

    def link_up(self, link: Link) -> None:
        self._trouble = None
        self.on_news(News(is_up=True, what=link.peer.name))
        for question in self._questions.values():
            if not question.answer.done():
                self._send(question)
        for timeout, due in self._waits.items():
            _move(timeout, due)

    def link_down(self, link: Link, reason: str) -> None:
        self.on_news(News(is_up=False, what=reason))
        for timeout, due in self._waits.items():
            _move(timeout, self._earlier(due))

    def refused(self, error: Refused) -> None:
        self._trouble = error
        self.on_news(News(is_up=False, what=str(error), error=error))
        refusal = self._refusal
        for question in self._questions.values():
            if refusal is not None and not question.is_sent:
                _fail(question, self._not_admitted(question, refusal))

    def message(self, link: Link, message: Message, body: memoryview) -> None:
        """Raises: MessageError, for a message that a server may not say to an admin."""
        refuse_unless_said(message, link.peer.role, "admin")
        question = self._questions.get(message.request) if isinstance(message, Reply) else None
        if question is None or question.answer.done() or not isinstance(message, Reply):
            return
        if message.failure is not None:
            _fail(question, RemoteError(message.failure))
        else:
            question.answer.set_result(bytes(body))


def _fail(question: _Question, error: SundogError) -> None:
    if not question.answer.done():
        question.answer.set_exception(error)
        question.answer.exception()  # whoever gave up waiting does not ask for it


def _move(timeout: asyncio.Timeout, due: float | None) -> None:
    if not timeout.expired():
        timeout.reschedule(due)
