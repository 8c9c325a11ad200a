"""A plugin from a wheel, in real processes: commands, a launcher, a filter and an aggregator of one name, and an observer."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from sundog.kernel.errors import RemoteError
from sundog.kits.admin.session import Session
from sundog.kits.commands.declaration import Command
from sundog.kits.commands.jobs import Nothing
from sundog.kits.poc.layout import Poc, write_poc
from sundog.kits.protocol.requests import Request

from .conftest import PROGRAM, Marked
from .jobs import PARTS, JobFolder, custom, executor

READINGS = {"site-1": [1, 90, 3], "site-2": [2, 2, 60], "site-3": [70, 9, 8]}
MEDIANS = [2, 3, 8]
"""Of what the filter makes of them: [1, 3, 3], [2, 2, 60], [70, 9, 8]. Without the filter it is [2, 9, 8]."""
READER = f"""
import numpy as np
from sundog import Executor, Shareable

class Reader(Executor):
    def execute(self, task, ctx):
        return Shareable("WEIGHTS", {{"numpy_key": np.array({READINGS}[ctx.site], np.float32)}})
"""


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
    with at_work(poc, {"server": plugged, "site-1": plugged, "site-2": marked}):
        yield poc


@contextmanager
def at_work(poc: Path, starters: Mapping[str, Marked]) -> Iterator[Session]:
    """An admin of a federation whose participants are all there."""
    started = []
    for name, starter in starters.items():
        role = "server" if name == "server" else "site"
        started.append(starter.popen(*PROGRAM, role, poc / name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    with Session(poc / "admin", timeout=60) as session:
        assert session.wait_until_server_status(60, lambda status: status.registered_clients == len(starters) - 1).is_reached
        yield session
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """A federation of three sites; its kits name the plugin's launcher, the server's also the observer, with tmp_path/ledger.txt."""
    root = tmp_path / "clinic"
    write_poc(root, Poc(sites=len(READINGS), fl_port=0, admin_port=0))
    ledger = {"id": "ledger", "name": "JobLedger", "args": {"path": str(tmp_path / "ledger.txt")}}
    for kit in root.glob("*/startup/fed_*.json"):
        if kit.name != "fed_admin.json":
            document = json.loads(kit.read_text())
            document["components"] = [{"id": "launcher", "name": "ClinicLauncher"}]
            document["components"] += [ledger] if kit.name == "fed_server.json" else []
            kit.write_text(json.dumps(document))
    return root


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job of one round that names both Medians: the filter at the sites, the aggregator in its workflow's arguments."""
    args = {"num_rounds": 1, "aggregator": {"name": "Median"}, "persistor_id": "persistor", "update_id": "update"}
    workflow = {"id": "sag", "name": "ScatterAndGather", "args": args}
    made = JobFolder(tmp_path / "job", [workflow], [executor(custom("Reader"))], code=READER)
    made.server["components"] = [part for part in PARTS if part["id"] != "aggregator"]
    made.client["task_result_filters"] = [{"tasks": ["train"], "filters": [{"name": "Median"}]}]
    folder = made.write()
    (folder / "app" / "models").mkdir()
    np.save(folder / "app" / "models" / "server.npy", np.zeros(3, np.float32))
    return folder


def test_a_job_runs_by_the_launcher_filter_aggregator_and_observer_of_a_plugin(
    clinic: Path, job: Path, plugged: Marked, tmp_path: Path
) -> None:
    """The model is that of the simulator, where kits and launchers play no part."""
    simulated = json.loads(plugged.sundog("simulate", job, "-n", "3", "-w", tmp_path / "simulated", "--json").stdout)
    with at_work(clinic, dict.fromkeys(("server", *READINGS), plugged)) as session:
        report = session.monitor_job(session.submit_job(job), timeout=60)

    assert (report.status, simulated["status"]) == ("FINISHED:COMPLETED", "FINISHED:COMPLETED"), report
    runs = {name: clinic / name / "runs" / report.job_id for name in ("server", *READINGS)}
    assert np.load(runs["server"] / "models" / "server.npy").tolist() == MEDIANS
    assert report.model_sha256
    assert report.model_sha256 == simulated["model_sha256"]
    relayed = f"started by the relay of the clinic: {report.job_id}\n"
    assert [name for name, run in runs.items() if relayed in (run / "log.txt").read_text()] == list(runs)
    states = ["SUBMITTED", "DISPATCHED", "RUNNING", "FINISHED:COMPLETED"]
    assert (tmp_path / "ledger.txt").read_text().splitlines() == [f"{report.job_id} {state}" for state in states]


def test_all_that_a_plugin_brings_is_listed(plugged: Marked) -> None:
    listed = plugged.sundog("plugins").stdout

    assert listed.partition("clinic  (sundog-clinic 1.0, sundog_clinic.plugin)\n")[2].splitlines() == [
        "  aggregators:        Median",
        "  filters:            Median",
        "  observers:          JobLedger",
        "  launchers:          ClinicLauncher",
        "  commands:           free_space",
        "sundog hours  The plugin of Sundog's own tests. (sundog-clinic 1.0)",
    ]


def test_a_name_of_two_roles_has_a_schema_in_each(plugged: Marked) -> None:
    of_both = plugged.sundog("schema", "Median")
    filters, aggregators = (json.loads(plugged.sundog("schema", f"{role}.Median").stdout) for role in ("filters", "aggregators"))

    assert (of_both.returncode, "there is aggregators.Median, filters.Median" in of_both.stderr) == (1, True)
    assert filters["description"].startswith("Replace each number by the median of itself and its two neighbours")
    assert aggregators["description"].startswith("Take the median over the sites")


def test_without_its_plugin_each_name_is_an_error_with_a_code(clinic: Path, job: Path, plugged: Marked) -> None:
    plugged.environment["SUNDOG_BLOCK_PLUGINS"] = "clinic"
    checked = plugged.sundog("job", "check", job, "--json")
    server, site = plugged.sundog("server", clinic / "server"), plugged.sundog("site", clinic / "site-1")
    command = plugged.sundog("admin", clinic / "admin", "-c", "free_space server")

    unknown = "no plugin has registered a component"
    mistakes = [(one["code"], one["where"].partition(": ")[2]) for one in json.loads(checked.stdout)["mistakes"]]
    places = ["task_result_filters[0].filters[0].name", "workflows[0].args.aggregator.name"]
    assert (checked.returncode, mistakes) == (2, [("SD-1006", place) for place in places])
    assert server.returncode == site.returncode == 1
    for index, name in enumerate(("ClinicLauncher", "JobLedger")):
        assert f"[SD-1006] startup/fed_server.json: components[{index}].name: {unknown} {name!r}" in server.stderr
    assert f"[SD-1006] {unknown} 'ClinicLauncher'" in site.stderr
    assert (command.returncode, command.stderr.startswith("[SD-6020] there is no command 'free_space'")) == (2, True)
    assert "clinic  (sundog-clinic 1.0, sundog_clinic.plugin)  blocked\n" in plugged.sundog("plugins").stdout


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
