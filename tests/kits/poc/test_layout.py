"""The folder of a federation on one machine."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from sundog.kits.poc.layout import DEFAULT_TRANSPORT, NoPoc, NotOurs, Poc, make_poc, read_poc, refuse_strangers, write_poc
from sundog.kits.workspace.kit import AdminKit, ServerKit, SiteKit, read_kit


def test_it_has_a_kit_for_each_participant_and_little_else(tmp_path: Path) -> None:
    """T002."""
    make_poc(tmp_path / "poc", Poc(sites=2))

    assert sorted(path.name for path in (tmp_path / "poc").iterdir()) == [
        ".provision", "README.md", "admin", "server", "site-1", "site-2",
    ]  # fmt: skip
    assert all((tmp_path / "poc" / name / "startup").is_dir() for name in ("admin", "server", "site-1", "site-2"))
    assert stat.S_IMODE((tmp_path / "poc" / ".provision").stat().st_mode) == 0o700


def test_the_ports_are_those_of_flare_unless_others_are_asked_for(tmp_path: Path) -> None:
    """T005."""
    write_poc(tmp_path / "a", Poc(sites=1))
    write_poc(tmp_path / "b", Poc(sites=1, fl_port=18002, admin_port=18003))

    server, _ = read_kit(tmp_path / "a" / "server", ServerKit)
    assert (server.listen, server.admin_listen) == (f"{DEFAULT_TRANSPORT}://localhost:8002", f"{DEFAULT_TRANSPORT}://localhost:8003")
    site, _ = read_kit(tmp_path / "b" / "site-1", SiteKit)
    admin, _ = read_kit(tmp_path / "b" / "admin", AdminKit)
    assert site.endpoints == [f"{DEFAULT_TRANSPORT}://localhost:18002"]
    assert admin.endpoints == [f"{DEFAULT_TRANSPORT}://localhost:18003"]


def test_port_0_becomes_a_free_one_that_all_kits_name(tmp_path: Path) -> None:
    made = write_poc(tmp_path / "poc", Poc(sites=1, fl_port=0, admin_port=0))

    assert 0 not in (made.fl_port, made.admin_port)
    assert made.fl_port != made.admin_port
    assert read_poc(tmp_path / "poc") == made
    assert read_kit(tmp_path / "poc" / "site-1", SiteKit)[0].endpoints == [made.address(made.fl_port)]


def test_a_free_port_is_kept_from_others_until_the_server_comes(tmp_path: Path) -> None:
    """What the system gives to who wants any port, it must not be one of these: another program could be faster than the server."""
    made = write_poc(tmp_path / "poc", Poc(sites=1, fl_port=0, admin_port=0))

    for port in (made.fl_port, made.admin_port):
        with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", port))
        socket.create_server(("127.0.0.1", port)).close()


def test_the_scripts_can_be_started_and_survive_spaces_in_paths(tmp_path: Path) -> None:
    write_poc(tmp_path / "my poc", Poc(sites=1))

    scripts = sorted(str(path.relative_to(tmp_path / "my poc")) for path in tmp_path.rglob("*.sh"))
    daemons = [f"{name}/startup/{script}" for name in ("server", "site-1") for script in ("start.sh", "stop.sh")]
    assert scripts == ["admin/startup/fl_admin.sh", *daemons]
    assert all(os.access(tmp_path / "my poc" / script, os.X_OK) for script in scripts)


def test_making_it_anew_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    make_poc(tmp_path / "poc", Poc(sites=3))
    (tmp_path / "poc" / "site-3" / "log.txt").write_text("old")

    make_poc(tmp_path / "poc", Poc(sites=1))

    assert not (tmp_path / "poc" / "site-3").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["poc"]


def test_writing_the_kits_again_keeps_what_participants_wrote(tmp_path: Path) -> None:
    write_poc(tmp_path / "poc", Poc(sites=1))
    (tmp_path / "poc" / "server" / "log.txt").write_text("old")

    write_poc(tmp_path / "poc", Poc(sites=2))

    assert (tmp_path / "poc" / "server" / "log.txt").read_text() == "old"


def test_a_strangers_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")

    with pytest.raises(NotOurs, match="no federation made by `sundog poc`"):
        make_poc(tmp_path / "home", Poc(sites=1))
    assert (tmp_path / "home" / "thesis.tex").read_text() == "precious"


def test_an_empty_folder_and_none_at_all_are_fine(tmp_path: Path) -> None:
    refuse_strangers(tmp_path)
    refuse_strangers(tmp_path / "new")


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    write_poc(tmp_path / "poc", Poc(sites=1))
    (tmp_path / "poc" / ".provision" / "poc.json").write_text('{"sites": 0}')

    with pytest.raises(NoPoc, match=r"Expected `int` >= 1 - at `\$\.sites`"):
        read_poc(tmp_path / "poc")


@pytest.mark.parametrize(("sites", "room"), [(2, 100), (101, 101)])
def test_the_servers_kit_has_room_for_all_sites(tmp_path: Path, sites: int, room: int) -> None:
    write_poc(tmp_path / "poc", Poc(sites=sites, fl_port=0, admin_port=0))

    kit, _ = read_kit(tmp_path / "poc" / "server", ServerKit)

    assert kit.limits.max_sites == room
