"""The scripts of a POC's kits, as somebody types them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
from msgspec.structs import replace

from sundog import Session
from sundog.kits.poc.layout import Poc, write_poc
from sundog.kits.workspace.kit import SiteKit, read_kit, write_kit
from sundog.kits.workspace.posix import lock_holder

from .jobs import JobFolder

REGISTERED_SECONDS = 60.0


def has_both_sites(status: Any) -> bool:
    return int(status.registered_clients) == 2


def start(marked: Any, kit: Path, stdout: Path | None = None) -> None:
    with (stdout or kit / "startup-stdout").open("w") as out:
        done = marked.run(kit / "startup" / "start.sh", capture_output=False, stdout=out)
    assert done.returncode == 0


def stop(marked: Any, kit: Path) -> str:
    done = marked.run(kit / "startup" / "stop.sh")
    assert done.returncode == 0, done.stderr
    return str(done.stderr)


def wait_registered(poc: Path) -> None:
    with Session(poc / "admin") as session:
        assert session.wait_until_server_status(REGISTERED_SECONDS, has_both_sites).is_reached


def test_start_scripts_bring_a_federation_to_work(marked: Any, poc: Path, nothing_left: Any) -> None:
    """T004, T006: server and sites in the background, two registered clients, the same lines in log.txt and on stdout."""
    start(marked, poc / "server", poc.parent / "stdout")
    start(marked, poc / "site-1")
    start(marked, poc / "site-2")
    wait_registered(poc)

    status = marked.run(poc / "admin" / "startup" / "fl_admin.sh", "-c", "check_status server")
    assert "Registered clients: 2" in status.stdout
    typed = marked.run(poc / "admin" / "startup" / "fl_admin.sh", input="check_status client\nbye\nlist_jobs\n")
    assert typed.returncode == 0
    assert typed.stdout.count("No Jobs") == 2
    assert "No jobs." not in typed.stdout

    for name in ("site-1", "site-2", "server"):
        stop(marked, poc / name)
    assert (poc.parent / "stdout").read_text() == (poc / "server" / "log.txt").read_text()
    assert (poc / "server" / "log.txt").read_text().count(' registered peer="site ') == 2
    nothing_left(poc)


def test_a_pipe_is_not_kept_open_by_what_goes_on_in_the_background(marked: Any, poc: Path, nothing_left: Any) -> None:
    done = marked.run(poc / "server" / "startup" / "start.sh")  # would time out: it is read to its end

    assert done.returncode == 0
    assert "server works (zmq://127.0.0.1:" in done.stderr
    assert stop(marked, poc / "server").startswith("server is stopped (it was process ")
    assert stop(marked, poc / "server") == "server was not running\n"
    nothing_left(poc)


def test_a_second_start_names_the_first_and_a_killed_one_is_no_obstacle(marked: Any, poc: Path) -> None:
    """T008."""
    kit = poc / "site-1"
    start(marked, kit)
    first = lock_holder(kit / "state" / "lock")

    second = marked.run(kit / "startup" / "start.sh")
    assert second.returncode == 1
    assert f"process {first} is at work here" in second.stderr

    os.kill(first, signal.SIGKILL)
    psutil.wait_procs([process for process in marked.alive() if process.pid == first], timeout=30)
    start(marked, kit)
    assert lock_holder(kit / "state" / "lock") not in (0, first)
    stop(marked, kit)


def test_a_port_that_is_taken_is_told_by_start(marked: Any, poc: Path, tmp_path: Path) -> None:
    start(marked, poc / "server")
    rival = tmp_path / "rival"
    kit = (poc / "server" / "startup" / "fed_server.json").read_text()
    write_poc(rival, Poc(sites=1))
    (rival / "server" / "startup" / "fed_server.json").write_text(kit)

    done = marked.run(rival / "server" / "startup" / "start.sh")

    assert done.returncode == 1
    assert "Address already in use" in done.stderr or "in use" in done.stderr
    assert "start_failed" in (rival / "server" / "log.txt").read_text()
    stop(marked, poc / "server")


def test_two_federations_side_by_side(marked: Any, tmp_path: Path, nothing_left: Any) -> None:
    """T005: other ports, no clash."""
    for name in ("one", "two"):
        made = marked.sundog("poc", "-n", "1", "-w", tmp_path / name, "--fl-port", "0", "--admin-port", "0")
        assert made.returncode == 0, made.stderr
    for name in ("one", "two"):
        started = marked.sundog("poc", "start", "-w", tmp_path / name)
        assert started.returncode == 0, started.stderr
    for name in ("one", "two"):
        stopped = marked.sundog("poc", "stop", "-w", tmp_path / name)
        assert stopped.stdout == "stopped: server, site-1\n"
    for name in ("one", "two"):
        nothing_left(tmp_path / name)
        assert marked.sundog("poc", "clean", "-y", "-w", tmp_path / name).returncode == 0
        assert not (tmp_path / name).exists()


LEDGER = """
from pathlib import Path
from sundog import observe

class Ledger:
    def __init__(self, path: str):
        self.path = Path(path)

    @observe
    def job_state_changed(self, job_id: str, state: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{job_id} {state}\\n")

    @observe
    def step_ended(self) -> None: ...
"""


def test_an_observer_in_a_servers_kit_is_told_of_each_state_of_a_job(marked: Any, poc: Path, tmp_path: Path) -> None:
    name_component(poc / "server" / "startup" / "fed_server.json", tmp_path / "ledger.txt", marked)
    start(marked, poc / "server")

    with Session(poc / "admin") as session:
        job = session.submit_job(JobFolder(tmp_path / "job").write())  # no site is there: it waits
        session.abort_job(job)
    stop(marked, poc / "server")

    assert (tmp_path / "ledger.txt").read_text().splitlines() == [f"{job} SUBMITTED", f"{job} FINISHED:ABORTED"]
    assert "component 'ledger' observes step_ended, which is never called here" in (poc / "server" / "log.txt").read_text()


def test_an_observer_in_a_sites_kit_is_refused(marked: Any, poc: Path, tmp_path: Path) -> None:
    name_component(poc / "site-1" / "startup" / "fed_client.json", tmp_path / "ledger.txt", marked)

    done = marked.run(poc / "site-1" / "startup" / "start.sh")

    assert done.returncode == 1
    assert "SD-5042" in done.stderr
    assert "unused component 'ledger'" in done.stderr


def name_component(kit: Path, path: Path, marked: Any) -> None:
    """Add the ledger to a kit's components, and its module to what the participant can import."""
    (path.parent / "installed").mkdir()
    (path.parent / "installed" / "ledger_e2e.py").write_text(LEDGER)
    marked.environment["PYTHONPATH"] = str(path.parent / "installed")
    document = json.loads(kit.read_text())
    document.setdefault("components", []).append({"id": "ledger", "path": "ledger_e2e.Ledger", "args": {"path": str(path)}})
    kit.write_text(json.dumps(document))


def test_a_site_that_the_server_refuses_ends_the_start_of_a_poc_with_the_reason(marked: Any, poc: Path, nothing_left: Any) -> None:
    kit, _ = read_kit(poc / "site-2", SiteKit)
    write_kit(poc / "site-2", replace(kit, project="another"))

    done = marked.sundog("poc", "start", "-w", poc)

    assert done.returncode == 1
    assert "[SD-7017]" in done.stderr
    assert "the server refuses site-2: [SD-2" in done.stderr
