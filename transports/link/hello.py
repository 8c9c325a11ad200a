"""HELLO and its answers: identity and protocol version, in the first frame each way. Their form never changes.

HELLO, HELLO_OK and a refusal are bare msgpack maps; a key that is not known is ignored, so that any two versions
can at least tell each other why they part.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import msgspec

from ...kernel.errors import SundogError
from ...kernel.messages import PROTOCOL_VERSIONS
from ...kernel.transport import Connection, Frame, Security
from .refusals import (
    BadHello,
    CertificateMismatch,
    DuplicateInstance,
    NotServing,
    Refused,
    RefusedOtherwise,
    StaleTerm,
    TooManySites,
    UnknownPeer,
    WrongProject,
    WrongVersion,
)

MAX_HELLO_BYTES = 64 * 1024
"""Room for a chain of certificates; more is nobody we know."""

Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._@-]*\Z", max_length=64)]
"""What may become part of a file's name. `@`: an admin's name is often an e-mail address."""
Version = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Term = Annotated[int, msgspec.Meta(ge=0, le=2**62)]

_KINDS = (
    BadHello, WrongProject, WrongVersion, UnknownPeer, DuplicateInstance, StaleTerm, NotServing, TooManySites, CertificateMismatch,
)  # fmt: skip
_REASONS: dict[str, type[Refused]] = {kind.code: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a link."""

    role: str
    name: str
    instance: str

    def __str__(self) -> str:
        return f"{self.role} {self.name}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this participant says it is, and how it proves it; `instance` is new each time the program starts."""

    project: str
    role: str
    name: str
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    security: LinkSecurity | None = None
    """None: links in clear."""

    def hello(self, term_seen: int, certificate: bytes = b"") -> Hello:
        """What this participant says first when it dials, with the certificate that it presented to the wire."""
        nonce = secrets.token_bytes(16)
        return Hello(PROTOCOL_VERSIONS, self.project, self.role, self.name, self.instance, term_seen, nonce, certificate)


class Hello(msgspec.Struct, frozen=True, omit_defaults=True):
    """The dialer's first frame."""

    proto: tuple[Version, Version]
    project: str
    role: Name
    name: Name
    instance: Name
    term_seen: Term
    nonce: bytes
    cert: bytes = b""
    caps: list[str] = []

    @property
    def peer(self) -> Peer:
        """Who says so."""
        return Peer(self.role, self.name, self.instance)


class HelloOk(msgspec.Struct, frozen=True, omit_defaults=True):
    """The server's answer: the version it picked, its term and the grant that proves it."""

    proto: Version
    term: Term
    grant: bytes
    instance: Name
    nonce: bytes
    limits: dict[str, int] = {}


class LinkSecurity(Security):
    """The security of a participant's links: what a wire asks, and whether HELLO and its answer fit the certificates.

    A link itself refuses a HELLO whose certificate is not the one that the peer proved to the wire. These checks come
    after that; any other exception than those named refuses the peer, too.
    """

    @abstractmethod
    def check_hello(self, hello: Hello, connection: Connection) -> None:
        """Compare project, role and name with `connection.peer_certificate`; at a server, for each HELLO.

        Raises:
            CertificateMismatch: they are not those of the certificate.
        """

    @abstractmethod
    def check_answer(self, answer: HelloOk, connection: Connection) -> None:
        """Compare the term and the grant that proves it with `connection.peer_certificate`; at a dialer, for each HELLO_OK.

        Raises:
            CertificateMismatch: the grant is not for the server that has this certificate, or not for this term.
        """


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The server's answer when it will not have this link."""

    error: str
    what: str
    cure: str = ""
    grant: bytes = b""

    @classmethod
    def of(cls, error: SundogError) -> Refusal:
        """What an error says on the wire."""
        return cls(error.code, error.what, error.cure, error.grant if isinstance(error, NotServing) else b"")

    def to_error(self, where: str) -> Refused:
        """The error that it was at the other side, at this address."""
        kind = _REASONS.get(self.error)
        if kind is None:
            return RefusedOtherwise(f"{self.error}: {self.what}", where=where, cure=self.cure)
        if kind is NotServing:
            return NotServing(self.what, where=where, cure=self.cure, grant=self.grant)
        return kind(self.what, where=where, cure=self.cure)


class _Answer(msgspec.Struct, frozen=True):
    """What tells a refusal from a HELLO_OK."""

    error: str = ""


Read = TypeVar("Read", Hello, HelloOk, Refusal, _Answer)


def encode_hello(said: Hello | HelloOk | Refusal) -> bytes:
    """One of the three first frames, as it travels."""
    return msgspec.msgpack.encode(said)


def read_hello(frame: Frame, where: str) -> Hello:
    """The dialer's first frame.

    Raises:
        BadHello: it is anything else.
    """
    return _read(frame, Hello, where)


def read_answer(frame: Frame, where: str) -> HelloOk:
    """The server's first frame.

    Raises:
        Refused: the server says no, or says something else.
    """
    if _read(frame, _Answer, where).error:
        raise _read(frame, Refusal, where).to_error(where)
    return _read(frame, HelloOk, where)


def pick_version(theirs: tuple[int, int], ours: tuple[int, int] = PROTOCOL_VERSIONS) -> int:
    """The newest version that both sides speak; each side gives its oldest and its newest.

    Raises:
        WrongVersion: there is none; the message names both ranges and the side to upgrade.
    """
    newest = min(theirs[1], ours[1])
    if newest >= max(theirs[0], ours[0]):
        return newest
    old = "the dialling side" if theirs[1] < ours[0] else "the server"
    raise WrongVersion(
        f"the dialling side speaks versions {theirs[0]} to {theirs[1]}, the server {ours[0]} to {ours[1]}: upgrade {old}",
        cure=f"upgrade {old}",
    )


def _read(frame: Frame, kind: type[Read], where: str) -> Read:
    if len(frame) > MAX_HELLO_BYTES:
        raise BadHello(f"wanted at most {MAX_HELLO_BYTES:,} bytes, got {len(frame):,}", where=where)
    try:
        return msgspec.msgpack.decode(frame, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is not UTF-8
        raise BadHello(f"wanted a map of the fields of {kind.__name__.strip('_')}: {error}", where=where) from error
