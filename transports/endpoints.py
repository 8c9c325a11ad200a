"""Which wire does an address name? Listen and connect at any of them."""

from __future__ import annotations

from ..kernel.plugins import plugins
from ..kernel.transport import MAX_FRAME_BYTES, AddressError, Connection, Listener, Security, Transport
from ..kernel.wording import did_you_mean
from .address import scheme_of


def transport_of(address: str) -> Transport:
    """The transport that an address's scheme stands for, ours or a plugin's.

    Raises:
        AddressError: no plugin knows the scheme, or what it registered is not a Transport.
        PluginError: the transport cannot be imported; when a library is missing, with how to install it.
    """
    scheme = scheme_of(address)
    known = plugins().names("transports")
    if scheme not in known:
        raise AddressError(f"no transport is called {scheme!r}{did_you_mean(scheme, known)}", where=address)
    kind = plugins().find("transports", scheme)
    if not issubclass(kind, Transport):
        raise AddressError(f"{known[scheme].target} of plugin {known[scheme].plugin} is not a Transport", where=address)
    return kind()


async def listen(address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Listener:
    """Listen at an address of any transport.

    Raises:
        AddressError: the address cannot be understood.
        ListenFailed: it cannot be bound.
        SecurityNotSupported: `security` is given, and the transport only speaks in clear.
    """
    return await transport_of(address).listen(address, security=security, max_frame_bytes=max_frame_bytes)


async def connect(address: str, *, security: Security | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Connection:
    """Connect to a listener of any transport. The caller sets a deadline by cancelling.

    Raises:
        AddressError: the address cannot be understood.
        ConnectFailed: nobody answers there, or the handshake failed.
        SecurityNotSupported: `security` is given, and the transport only speaks in clear.
        TransportError: what `security` raised, such as CertificateRejected.
    """
    return await transport_of(address).connect(address, security=security, max_frame_bytes=max_frame_bytes)
