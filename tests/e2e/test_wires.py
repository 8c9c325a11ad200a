"""Is the wire one value in a kit, and what does a site do with a list that mixes wires?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

import sundog
from sundog import Session
from sundog.kits.poc.federation import Federation
from sundog.kits.poc.layout import TRANSPORTS, Poc, write_poc
from sundog.kits.supervisor.interrupts import Interrupts
from sundog.kits.workspace.kit import ServerKit, SiteKit, read_kit, write_kit

JOB = Path(__file__).resolve().parents[2] / "examples" / "hello-numpy"
SITES = ("site-1", "site-2")


@contextmanager
def at_work(poc: Path) -> Iterator[Session]:
    with Interrupts() as interrupts, Federation(poc, interrupts) as federation:
        federation.start()
        with Session(poc / "admin") as session:
            federation.wait_registered(session)
            yield session


def model_of(session: Session) -> str | None:
    return session.monitor_job(session.submit_job(JOB), timeout=60).model_sha256


def dial(poc: Path, site: str, *endpoints: str) -> None:
    kit, _ = read_kit(poc / site, SiteKit)
    write_kit(poc / site, msgspec.structs.replace(kit, endpoints=list(endpoints)))


@pytest.mark.parametrize("transport", [*TRANSPORTS, "zmq+ipc"])
def test_one_value_in_the_kits_swaps_the_wire_and_the_model_stays(transport: str, poc: Path, tmp_path: Path) -> None:
    """T153, T154 (in clear): also where the wire is a file."""
    with TemporaryDirectory(prefix="sundog-", dir="/tmp") as folder:  # a unix socket's path must be short
        if transport == "zmq+ipc":
            address = f"zmq+ipc://{folder}/sites"
            kit, _ = read_kit(poc / "server", ServerKit)
            write_kit(poc / "server", msgspec.structs.replace(kit, listen=address))
            for site in SITES:
                dial(poc, site, address)
        else:
            write_poc(poc, Poc(sites=2, transport=transport, fl_port=0, admin_port=0))  # type: ignore[arg-type]  # one of them
        with at_work(poc) as session:
            model = model_of(session)

    assert model is not None
    assert model == sundog.simulate(JOB, sites=2, workspace=tmp_path / "simulation").model_sha256


def test_a_site_whose_first_wire_is_blocked_uses_the_second(poc: Path) -> None:
    """A firewall that swallows what is sent, a port where nobody is: both are passed, on wires of other kinds, and each is logged once."""
    made = write_poc(poc, Poc(sites=2, transport="zmq", fl_port=0, admin_port=0))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        blocked = f"grpc://127.0.0.1:{silent.getsockname()[1]}"
        dial(poc, "site-1", blocked, "tcp://127.0.0.1:1", made.address(made.fl_port))
        with at_work(poc) as session:
            assert model_of(session) is not None

    log = (poc / "site-1" / "log.txt").read_text()
    for address in (blocked, "tcp://127.0.0.1:1"):
        assert log.count(f"no link address={address} ") == 1
