"""A plugin from a wheel, in real processes: an admin command at server and site, and a sub-command."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sundog.kernel.errors import RemoteError
from sundog.kits.admin.session import Session
from sundog.kits.commands.declaration import Command
from sundog.kits.commands.jobs import Nothing
from sundog.kits.protocol.requests import Request

from .conftest import PROGRAM, Marked


@pytest.fixture
def plugged(marked: Marked, clinic_plugin: Path) -> Marked:
    """Starts processes that have the plugin; what it starts is ended with the others."""
    plugged = Marked()
    plugged.mark = marked.mark
    plugged.environment = {**marked.environment, "PYTHONPATH": str(clinic_plugin)}
    return plugged


@pytest.fixture
def federation(poc: Path, marked: Marked, plugged: Marked) -> Iterator[Path]:
    """A federation whose second site lacks the plugin."""
    started = []
    for name, starter in {"server": plugged, "site-1": plugged, "site-2": marked}.items():
        role = "server" if name == "server" else "site"
        started.append(starter.popen(*PROGRAM, role, poc / name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    with Session(poc / "admin", timeout=60) as session:
        assert session.wait_until_server_status(60, lambda status: status.registered_clients == 2).is_reached
    yield poc
    for process in started:
        process.kill()
        process.wait()


def test_a_command_of_a_plugin_runs_at_the_server_and_at_sites(federation: Path, marked: Marked, plugged: Marked) -> None:
    admin = federation / "admin"
    at_server = plugged.sundog("admin", admin, "-c", "free_space server")
    at_site = plugged.sundog("admin", admin, "-c", "free_space site-1 -u GB", "--json")
    without = plugged.sundog("admin", admin, "-c", "free_space site-2", "--json")
    misused = plugged.sundog("admin", admin, "-c", "free_space")
    unknown = marked.sundog("admin", admin, "-c", "free_space server")

    assert (at_server.returncode, at_server.stderr) == (0, "")
    assert at_server.stdout.startswith("server: ")
    assert at_server.stdout.endswith(" B\n")
    answer = json.loads(at_site.stdout)
    assert (answer["target"], answer["unit"], answer["asked_by"]) == ("site-1", "GB", "admin")
    assert without.returncode == 1
    error = json.loads(without.stdout)["error"]
    assert (error["code"], error["what"]) == ("SD-6001", "unknown command 'free_space': the site site-2 does not have it")
    assert (misused.returncode, "Usage: free_space TARGET [-u UNIT]" in misused.stderr) == (2, True)
    assert (unknown.returncode, "SD-6020" in unknown.stderr) == (2, True)
    assert "free_space TARGET [-u UNIT]" in plugged.sundog("admin", "--help").stdout
    log = (federation / "site-1" / "log.txt").read_text()
    assert "command_allowed" in log
    assert "the role admin has the right 'view'" in log


class Nonsense(Request, frozen=True):
    """What no participant knows."""


def test_a_command_that_the_server_does_not_know_is_refused_by_name(federation: Path) -> None:
    with Session(federation / "admin") as session, pytest.raises(RemoteError, match=r"SD-6001.*unknown command 'nonsense': the server"):
        session.call(Command(name="nonsense", request=Nonsense, answers=(Nothing,)), Nonsense())


def test_a_sub_command_of_a_plugin_is_listed_and_runs(plugged: Marked, marked: Marked) -> None:
    listed = plugged.sundog("--help").stdout
    assert "Commands of plugins:\n  hours  The plugin of Sundog's own tests. (sundog-clinic 1.0)\n" in listed
    assert "Commands of plugins" not in marked.sundog("--help").stdout

    assert plugged.sundog("hours").stdout == "8 to 17 o'clock\n"
    assert plugged.sundog("hours", "--weekend").stdout == "closed\n"
    assert "No such command 'hours'" in marked.sundog("hours").stderr
    assert json.loads(plugged.sundog("plugins", "--json").stdout)["sub_commands"] == {"hours": ["sundog_clinic.hours:command"]}


def test_a_blocked_plugin_brings_no_sub_command(plugged: Marked) -> None:
    plugged.environment["SUNDOG_BLOCK_PLUGINS"] = "clinic"

    assert "Commands of plugins" not in plugged.sundog("--help").stdout
    assert plugged.sundog("hours").returncode == 2


def test_listing_a_sub_command_imports_neither_its_plugin_nor_anything_heavy(plugged: Marked) -> None:
    code = (
        "import sys, contextlib, io\n"
        "from sundog.kits.cli.main import sundog\n"
        "with contextlib.redirect_stdout(io.StringIO()): sundog.main(['--help'], standalone_mode=False)\n"
        "print([name for name in ('sundog_clinic', 'pluggy', 'numpy', 'asyncio', 'msgspec', 'structlog', 'rich') if name in sys.modules])"
    )

    assert plugged.run(*PROGRAM[:1], "-c", code).stdout == "[]\n"


def test_a_participant_with_a_command_without_a_right_does_not_start(poc: Path, plugged: Marked, tmp_path: Path) -> None:
    """The error names the plugin and the command."""
    package = tmp_path / "shady"
    (package / "shady-1.0.dist-info").mkdir(parents=True)
    (package / "shady-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shady\nVersion: 1.0\n")
    (package / "shady-1.0.dist-info" / "entry_points.txt").write_text("[sundog]\nshady = shady_plugin\n")
    (package / "shady_plugin.py").write_text(
        "import dataclasses\nfrom sundog import register\n\n"
        "@register\ndef sundog_commands(add):\n    add('peep', 'shady_plugin:PEEP')\n\n"
        "def __getattr__(name):\n"
        "    from sundog_clinic.free_space import FREE_SPACE\n"
        "    if name != 'PEEP':\n        raise AttributeError(name)\n"
        "    return dataclasses.replace(FREE_SPACE, name='peep', right='')\n"
    )
    plugged.environment["PYTHONPATH"] += os.pathsep + str(package)

    for role, kit in {"server": "server", "site": "site-1"}.items():
        done = plugged.sundog(role, poc / kit)
        assert done.returncode == 1
        assert done.stderr.startswith("[SD-1082] it declares no right\n  where: plugin shady: command peep\n")
