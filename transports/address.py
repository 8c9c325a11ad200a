"""What an address says: scheme, host and port, and whether it stays on this machine."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, replace
from typing import Self

from ..kernel.transport import AddressError

_WILDCARDS = ("", "*", "0.0.0.0", "::")  # noqa: S104  # to be recognised, not bound
_MAX_PORT = 65535


def scheme_of(address: str) -> str:
    """The part before `://`.

    Raises:
        AddressError: there is none.
    """
    scheme, mark, _ = address.partition("://")
    if not mark or not scheme:
        raise AddressError(f"wanted scheme://host:port, got {address!r}")
    return scheme


def place_of(address: str) -> tuple[str, int]:
    """Host and port of an address; of one that names a place in another form (a path) that place, and 0."""
    try:
        parsed = Address.parse(address)
    except AddressError:
        return address.partition("://")[2], 0
    return parsed.host, parsed.port


def is_loopback(address: str) -> bool:
    """Whether scheme://host:port can only be reached from this machine: 127.0.0.0/8, ::1 or localhost.

    Raises:
        AddressError: the address cannot be understood.
    """
    return Address.parse(address).is_loopback


@dataclass(frozen=True, slots=True)
class Address:
    """scheme://host:port; an IPv6 host stands in brackets in the text, and without them here."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `scheme://host:port`; a wildcard host is `*`, `0.0.0.0`, `[::]` or nothing.

        Raises:
            AddressError: with what was wanted and what was got.
        """
        scheme = scheme_of(text)
        host, colon, port = text.removeprefix(f"{scheme}://").rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
            raise AddressError(f"wanted a port from 0 to {_MAX_PORT:,} at the end, as in {scheme}://host:8002", where=text)
        return cls(scheme, _host(host, text), int(port))

    @classmethod
    def parse_as(cls, scheme: str, text: str) -> Self:
        """The same for one scheme only.

        Raises:
            AddressError: it has another, or cannot be understood.
        """
        parsed = cls.parse(text)
        if parsed.scheme != scheme:
            raise AddressError(f"wanted {scheme}://host:port, got the scheme {parsed.scheme!r}", where=text)
        return parsed

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_wildcard(self) -> bool:
        """Whether it means every interface of this machine."""
        return self.host in _WILDCARDS

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def contact(self) -> Self:
        """What another machine should dial: this, with this machine's name for a wildcard."""
        return replace(self, host=socket.gethostname()) if self.is_wildcard else self


def _host(text: str, address: str) -> str:
    """The host without its brackets."""
    bracketed = text.startswith("[") and text.endswith("]")
    host = text[1:-1] if bracketed else text
    if bracketed != (":" in host):
        raise AddressError("wanted a host name, an IPv4 address, or an IPv6 address in [brackets]", where=address)
    if any(character.isspace() or character in "/@?#[]" for character in host):
        raise AddressError(f"wanted a host and a port only, got {host!r} for a host", where=address)
    return host
