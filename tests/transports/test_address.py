"""What do addresses say, and which are refused?"""

from __future__ import annotations

import socket

import pytest

from sundog.kernel.transport import AddressError
from sundog.transports.address import Address, is_loopback, place_of, scheme_of


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("tcp://localhost:8002", "localhost", 8002), ("zmq://*:0", "*", 0), ("tcp://[::1]:80", "::1", 80), ("tcp://:65535", "", 65535)],
)
def test_an_address_is_read_and_written_back(text: str, host: str, port: int) -> None:
    address = Address.parse(text)

    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost:80", "://x:1", "tcp://localhost", "tcp://x:", "tcp://x:-1", "tcp://x:65536", "tcp://x:1²"),
        *("tcp://::1:80", "tcp://[x]:80", "tcp://user@x:80", "tcp://x/y:80", "tcp://a b:80", "tcp://x:80/"),
    ],
)
def test_nonsense_is_refused_with_what_was_wanted(text: str) -> None:
    with pytest.raises(AddressError, match="wanted"):
        Address.parse(text)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(f"tcp://{host}:8002")


@pytest.mark.parametrize("host", ["*", "", "0.0.0.0", "[::]", "10.0.0.1", "example.org", "127.0.0.1.example.org", "localhost.example.org"])
def test_all_else_can_be_reached_from_outside(host: str) -> None:
    assert not is_loopback(f"tcp://{host}:8002")


def test_the_contact_of_a_wildcard_is_this_machine() -> None:
    assert str(Address.parse("tcp://*:8002").contact()) == f"tcp://{socket.gethostname()}:8002"
    assert str(Address.parse("tcp://10.0.0.1:8002").contact()) == "tcp://10.0.0.1:8002"


def test_the_scheme_stands_before_the_mark() -> None:
    assert scheme_of("unix:///run/x") == "unix"


@pytest.mark.parametrize(("address", "place"), [("tcp://[::1]:8002", ("::1", 8002)), ("zmq+ipc:///run/sites", ("/run/sites", 0))])
def test_an_address_without_a_port_has_a_place_too(address: str, place: tuple[str, int]) -> None:
    assert place_of(address) == place
