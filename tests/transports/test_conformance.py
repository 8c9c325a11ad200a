"""Our transports, and third-party ones, in the public suite."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from tempfile import TemporaryDirectory

import pytest
import trustme

from sundog.kernel.transport import Credentials
from sundog.transports.address import Address
from sundog.transports.grpc_stream import GrpcStream
from sundog.transports.inproc import Inproc
from sundog.transports.tcp import Tcp
from sundog.transports.testing import CASES, Poke, Wire, applicable, run_case
from sundog.transports.zeromq import ZeroMq, ZeroMqIpc

from .tls_wire import TlsUnix
from .unix_wire import Unix

_folder = TemporaryDirectory(prefix="sundog-", dir="/tmp")  # unix socket paths must be short: others may be too long
_serial = itertools.count()


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def credentials_of(name: str) -> Credentials:
    """A new certificate for a name, by the authority that all trust."""
    issued = authority().issue_cert(f"{name}.clinic")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return Credentials(
        certificate=ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()),
        chain=chain,
        private_key=issued.private_key_pem.bytes(),
        trust_anchors=authority().cert_pem.bytes(),
        server_name="server.clinic",
    )


@asynccontextmanager
async def _raw(contact: str) -> AsyncIterator[Callable[[bytes], None]]:
    """A blocking socket: what is written here is little, and the kernel takes it at once."""
    if contact.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(contact.removeprefix("unix://"))
    else:
        address = Address.parse(contact)
        sock = socket.create_connection((address.host, address.port))
    with sock:
        yield sock.sendall


POKE = Poke(
    connect=_raw,
    announce=lambda size: size.to_bytes(4, "big"),
    malformed={
        "a web browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "TLS": bytes.fromhex("16030100f1010000ed0303") + bytes(100),
        "ZeroMQ": bytes.fromhex("ff00000000000000017f") + bytes(54),
        "a reserved length": b"\xff\xff\xff\x00",
    },
)

WIRES = {
    "grpc": Wire(
        GrpcStream(),
        address=lambda: "grpc://127.0.0.1:0",
        nobody="grpc://127.0.0.1:1",
        bad_addresses=("grpc://", "grpc://127.0.0.1", "grpc://127.0.0.1:x", "grpc://127.0.0.1:70000", "grpc://::1:80", "grpc://a b:80"),
    ),
    "inproc": Wire(
        Inproc(),
        address=lambda: "inproc://suite:0",
        nobody="inproc://nobody",
        bad_addresses=("inproc://", "inproc://a b", "inproc://a/b"),
        credentials=lambda name: Credentials(f"{name} {next(_serial)}".encode()),
    ),
    "tcp": Wire(
        Tcp(),
        address=lambda: "tcp://127.0.0.1:0",
        nobody="tcp://127.0.0.1:1",
        bad_addresses=(
            "tcp://",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:x",
            "tcp://127.0.0.1:70000",
            "tcp://::1:80",
            "tcp://a b:80",
            "tcp://a/b:80",
        ),
        poke=POKE,
    ),
    "zmq": Wire(
        ZeroMq(),
        address=lambda: "zmq://127.0.0.1:0",
        nobody="zmq://127.0.0.1:1",
        bad_addresses=("zmq://", "zmq://127.0.0.1", "zmq://127.0.0.1:x", "zmq://127.0.0.1:70000", "zmq://::1:80", "zmq://a b:80"),
    ),
    "zmq+ipc": Wire(
        ZeroMqIpc(),
        address=lambda: f"zmq+ipc://{_folder.name}/*",
        nobody=f"zmq+ipc://{_folder.name}/nobody",
        bad_addresses=("zmq+ipc://", "zmq+ipc://relative/path", "zmq+ipc:///folder/"),
    ),
    "unix, from outside": Wire(
        Unix(),
        address=lambda: f"unix://{_folder.name}/{next(_serial)}",
        nobody=f"unix://{_folder.name}/nobody",
        bad_addresses=("unix://", "unix://relative/path"),
        poke=POKE,
    ),
    "TLS, from outside": Wire(
        TlsUnix(),
        address=lambda: f"unix://{_folder.name}/{next(_serial)}",
        nobody=f"unix://{_folder.name}/nobody",
        bad_addresses=("unix://", "unix://relative/path"),
        credentials=credentials_of,
    ),
}


@pytest.mark.parametrize(("wire", "case"), [(wire, case) for wire in WIRES for case in applicable(WIRES[wire])])
async def test_the_wire_passes(wire: str, case: str) -> None:
    """T156: one suite for all transports."""
    await run_case(case, WIRES[wire])


def test_the_suite_has_at_least_forty_cases() -> None:
    """T156: every case says in one sentence what it shows."""
    assert len(CASES) >= 40
    assert all(case.__doc__ for case in CASES.values())
