"""The contract of the command line: help, versions, statuses, what goes where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest

import sundog as package
from sundog.kits.cli import main
from sundog.kits.poc.layout import Poc, write_poc

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_help_lists_each_command_and_imports_nothing_for_it() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from sundog.kits.cli.main import sundog\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out: sundog.main(['--help'], standalone_mode=False)\n"
        "print([name for name in ('numpy', 'torch', 'asyncio', 'msgspec', 'structlog', 'rich') if name in sys.modules])\n"
        "print(out.getvalue())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said.startswith("[]\n")
    assert all(f"\n  {name} " in said for name in main.SUMMARIES)


@pytest.mark.parametrize("name", main.SUMMARIES)
def test_a_command_is_where_the_table_says(name: str) -> None:
    command = import_module(f"sundog.kits.cli.{name}").command

    assert isinstance(command, click.Command)
    assert command.name in (name, "command")
    assert command.help


def test_the_version_is_the_packages(sundog: Run) -> None:
    assert package.__version__ in sundog("--version").stdout


def test_wrong_usage_is_told_on_stderr_with_status_2(sundog: Run) -> None:
    done = sundog("simulate")

    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing argument 'JOB'" in done.stderr


def test_an_error_has_code_place_and_cure_and_no_traceback(sundog: Run, tmp_path: Path) -> None:
    done = sundog("admin", tmp_path, "-c", "list_jobs")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("[SD-5001] wanted startup/fed_admin.json")
    assert f"where: {tmp_path}" in done.stderr
    assert "cure:" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_json_an_error_is_one_document_too(sundog: Run, tmp_path: Path) -> None:
    done = sundog("admin", tmp_path, "-c", "list_jobs", "--json")

    assert json.loads(done.stdout)["error"]["code"] == "SD-5001"


def test_sundog_debug_shows_the_traceback(sundog: Run, tmp_path: Path) -> None:
    done = sundog("admin", tmp_path, "-c", "list_jobs", env={**os.environ, "SUNDOG_DEBUG": "1"})

    assert "Traceback" in done.stderr


def test_the_wrong_kind_of_kit_is_told(sundog: Run, tmp_path: Path) -> None:
    write_poc(tmp_path / "poc", Poc(sites=1))

    done = sundog("site", "poc/server")

    assert done.returncode == 1
    assert "wanted startup/fed_client.json; this is the kit of a server" in done.stderr


# --- poc ---


def test_poc_shows_what_flares_shows() -> None:
    """T002."""
    said = subprocess.run([Path(sys.executable).parent / "poc", "-h"], capture_output=True, text=True, check=True).stdout

    assert "[-h] [-n NUM_CLIENTS]" in said


def hashes(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_there_is_replaced_only_after_a_yes(sundog: Run, tmp_path: Path) -> None:
    """T003."""
    assert sundog("poc", "-n", "2").returncode == 0
    before = hashes(tmp_path / "poc")

    refused = sundog("poc", "-n", "3", input="n\n")
    assert refused.returncode != 0
    assert hashes(tmp_path / "poc") == before
    assert sundog("poc", "-n", "3", input="").returncode != 0
    assert hashes(tmp_path / "poc") == before

    assert sundog("poc", "-n", "3", input="y\n").returncode == 0
    assert sorted(path.name for path in (tmp_path / "poc").glob("site-*")) == ["site-1", "site-2", "site-3"]


def test_poc_start_needs_a_poc(sundog: Run) -> None:
    done = sundog("poc", "start")

    assert done.returncode == 1
    assert "[SD-7012]" in done.stderr
