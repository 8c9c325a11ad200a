"""A participant's folder, and paths from outside."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sundog.kits.workspace.folders import NoKit, PathRefused, Workspace, is_name, relative_path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "startup").mkdir()
    return Workspace(tmp_path).create().create_shared()


def test_a_folder_without_startup_is_no_kit(tmp_path: Path) -> None:
    with pytest.raises(NoKit, match=r"wanted a folder with startup/ in it"):
        Workspace(tmp_path)


def test_a_workspace_has_the_folders_of_the_design_and_a_private_state(workspace: Workspace) -> None:
    assert {path.name for path in workspace.root.iterdir()} == {"startup", "local", "transfer", "state", "runs"}
    assert {path.name for path in workspace.state.iterdir()} == {"journal", "jobs", "blobs"}
    assert stat.S_IMODE(workspace.state.stat().st_mode) == 0o700


def test_what_a_second_server_must_see_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "startup").mkdir()

    workspace = Workspace(tmp_path, shared=tmp_path / "nfs" / "clinic").create().create_shared()

    assert list(workspace.state.iterdir()) == []
    assert {path.name for path in workspace.shared.iterdir()} == {"journal", "jobs", "blobs"}
    assert stat.S_IMODE(workspace.shared.stat().st_mode) == 0o700
    local, shared = (workspace.lock, workspace.term_seen, workspace.ballast), (workspace.project_journal, workspace.term)
    assert all(path.is_relative_to(workspace.state) for path in local)
    assert all(path.is_relative_to(workspace.shared) for path in shared)


def test_creating_it_again_keeps_what_is_there(workspace: Workspace) -> None:
    (workspace.local / "mine").write_text("x")

    workspace.create()

    assert (workspace.local / "mine").read_text() == "x"


def test_a_run_has_a_folder_and_a_new_out_at_each_launch(workspace: Workspace) -> None:
    run = workspace.run("1234").create()
    (run.out / "left-over").write_text("x")
    (run.models / "kept").write_text("x")

    run.renew_out()

    assert list(run.out.iterdir()) == []
    assert (run.models / "kept").exists()


def test_the_journals_of_a_run_come_in_order_of_their_terms(workspace: Workspace) -> None:
    for term in (10, 9, 1):
        workspace.run_journal("run", term).touch()
    workspace.run_journal("runner", 1).touch()

    assert [path.name for path in workspace.run_journals("run")] == ["run.00000001.journal", "run.00000009.journal", "run.00000010.journal"]


@pytest.mark.parametrize("run_id", ["", "..", "a/b", "../x", "*", "a" * 64])
def test_an_id_that_is_no_name_makes_no_path(workspace: Workspace, run_id: str) -> None:
    with pytest.raises(PathRefused):
        workspace.run(run_id)


def test_names_are_letters_digits_dots_dashes_and_underscores() -> None:
    assert all(map(is_name, ["site-1", "a", "A.b_c-9", "x" * 63]))
    assert not any(map(is_name, ["", ".hidden", "-x", "a b", "ä", "a\n", "x" * 64]))


REFUSED = [
    "",
    "/etc/passwd",
    "..",
    "../x",
    "a/../b",
    "a//b",
    "a/",
    "./a",
    "a\\b",
    "a\nb",
    "a\0b",
    "a\u202eb",
    "x" * 300,
    "/".join("a" * 20),
]


@pytest.mark.parametrize("path", REFUSED)
def test_a_path_that_leads_out_or_that_some_system_cannot_keep_is_refused(path: str) -> None:
    with pytest.raises(PathRefused):
        relative_path(path)
