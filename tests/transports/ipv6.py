"""Has this machine an IPv6 address to listen at? A container may know the family and have none."""

from __future__ import annotations

import socket

import pytest


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
