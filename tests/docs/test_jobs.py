"""Does the page on jobs say what a job may say?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sundog.kernel.operator_roles import ResourceManager
from sundog.kernel.plugins import Plugins
from sundog.kits.protocol.records import Status
from sundog.kits.supervisor.kit_parts import KitParts
from sundog.kits.workspace.job_meta import JobMeta
from sundog.kits.workspace.kit import SiteKit
from sundog.workflows.policy import SitesPolicy

from .pages import Page

PAGE = Page("docs/jobs.md")
FILES = ("meta.json", "app/config/config_fed_server.json", "app/config/config_fed_client.json")
NOT_IN_JOBS = ("transports", "resource_managers", "schedulers", "launchers", "access_rules", "commands", "builders", "aliases")


def test_the_page_lists_every_key_of_the_meta_file() -> None:
    (table,) = PAGE.tables("meta.json")

    assert {row[0] for row in table} == set(JobMeta.__struct_fields__)


def test_the_page_lists_every_built_in_name() -> None:
    (table,) = PAGE.tables("Built-in names")
    listed = {(role, name.strip("`")) for role, names in table for name in names.split(", ")}
    known = {(entry.role, entry.name) for plugin in Plugins(entry_points=(), blocked=()).listing() for entry in plugin.registrations}

    assert listed == {(role, name) for role, name in known if role not in NOT_IN_JOBS}


def test_a_site_s_kit_names_what_counts_its_resources() -> None:
    components = msgspec.json.decode(PAGE.blocks("json")[len(FILES)])["components"]
    kit = msgspec.convert({"project": "p", "name": "site-1", "endpoints": ["tcp://localhost:1"], "components": components}, SiteKit)

    resources = KitParts(kit.components, "startup/fed_client.json").take(ResourceManager, "AlwaysYes")

    assert resources.available() == {"gpu": 2}


def test_the_job_of_the_page_has_no_mistakes(tmp_path: Path) -> None:
    for name, text in zip(FILES, PAGE.blocks("json")[: len(FILES)], strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-P", "-m", "sundog.kits.cli", "job", "check", tmp_path], capture_output=True, text=True, check=False, timeout=100
    )

    assert done.returncode == 0, done.stderr
    assert "every step needs 2 of its sites, then waits 30 s for the others" in done.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "every step needs all its sites; if that becomes impossible, the run fails"),
        ({"require": 2}, "2 of its sites, then waits 60 s for the others"),
        ({"require": 2, "grace_seconds": 0}, "2 of its sites, and does not wait for others"),
        ({"require": ["site-1"]}, "every step needs site-1, then waits 60 s for the others"),
        ({"on_missing": "continue"}, "it goes on with the sites that answer"),
    ],
)
def test_a_policy_says_what_the_page_says(args: dict[str, Any], words: str) -> None:
    assert words in SitesPolicy(**args).describe()


def test_the_states_of_the_page_are_states() -> None:
    listed = [state for row in PAGE.tables("What is left of a run")[1] for state in row[0].split(", ")]

    assert set(listed) <= set(Status)
