"""At which addresses of the network can a host be reached, and at which of them is one listened at?"""

from __future__ import annotations

import asyncio
import socket

from ..kernel.transport import AddressError
from .address import Address

SockAddr = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Endpoint = tuple[socket.AddressFamily, SockAddr]
"""An address as the socket calls want it."""


async def to_dial(wanted: Address) -> list[Endpoint]:
    """The addresses of a host, at least one. Numbers are taken as they are; only a name costs a thread and a wait.

    Raises:
        AddressError: it is one to listen at.
        OSError: there is no such host.
    """
    if wanted.is_wildcard or not wanted.port:
        raise AddressError("wanted a host and a port to connect to; this is one to listen at", where=str(wanted))
    return await _resolve(wanted)


async def to_bind(wanted: Address) -> Endpoint:
    """Where to listen: for a wildcard every interface, IPv6 too where there is one.

    Raises:
        OSError: there is no such host.
    """
    if wanted.host in ("", "*"):
        dual = socket.has_dualstack_ipv6()
        return (socket.AF_INET6, ("::", wanted.port)) if dual else (socket.AF_INET, ("0.0.0.0", wanted.port))  # noqa: S104  # as asked
    # A name that means both (localhost) is bound where most will look for it.
    return min(await _resolve(wanted), key=lambda endpoint: endpoint[0] != socket.AF_INET)


async def _resolve(wanted: Address) -> list[Endpoint]:
    try:
        found = socket.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM)
    return [(socket.AddressFamily(family), where) for family, _, _, _, where in found]
