"""What is read of a file, and that it has a bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sundog.kits.protocol.file_answers import FileList, FileText
from sundog.kits.protocol.requests import Cat, FileRequest, Grep, Head, Ls, Tail
from sundog.kits.workspace import looking
from sundog.kits.workspace.folders import PathRefused, Workspace
from sundog.kits.workspace.looking import ANSWER_BYTES, look


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "startup").mkdir()
    return Workspace(tmp_path).create()


def read(workspace: Workspace, asked: FileRequest) -> FileText:
    answer = look(workspace, asked)
    assert isinstance(answer, FileText)
    return answer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text("ab\n", max_size=40), st.integers(0, 8), st.integers(1, 7))
def test_head_and_tail_are_the_first_and_the_last_lines(workspace: Workspace, text: str, lines: int, piece: int) -> None:
    """However the file is read: in pieces of any size."""
    (workspace.root / "log.txt").write_text(text)
    every = text.splitlines(keepends=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looking, "PIECE_BYTES", piece)
        head = read(workspace, Head(target="server", file="log.txt", lines=lines))
        tail = read(workspace, Tail(target="server", file="log.txt", lines=lines))

    assert head.text == "".join(every[:lines])
    assert tail.text == "".join(every[len(every) - min(lines, len(every)) :])


def test_an_answer_has_a_bound_and_says_what_it_leaves_out(workspace: Workspace) -> None:
    size = ANSWER_BYTES + 1000
    (workspace.root / "large.txt").write_bytes(b"x" * (size - 1) + b"!")

    for asked in (
        Cat(target="server", file="large.txt"),
        Head(target="server", file="large.txt", size=10**9),
        Head(target="server", file="large.txt", lines=3),
        Tail(target="server", file="large.txt"),
    ):
        answer = read(workspace, asked)
        assert (len(answer.text), answer.size_bytes, answer.left_out_bytes) == (ANSWER_BYTES, size, 1000)
        assert answer.text.endswith("!") == isinstance(asked, Tail)


def test_a_search_has_a_bound_and_says_what_it_leaves_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace.root / "log.txt").write_bytes(b"a hit\n" * 200 + b"none\n" * 200)
    monkeypatch.setattr(looking, "ANSWER_BYTES", 600)
    monkeypatch.setattr(looking, "SEARCH_BYTES", 1500)

    answer = read(workspace, Grep(target="server", file="log.txt", pattern="hit"))

    assert answer.text == "a hit\n" * 100
    assert answer.left_out_bytes == 100 * 6 + (2200 - 1500)


def test_a_list_has_a_bound_and_says_so(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ANSWER_NAMES", 3)
    for name in "abcd":
        (workspace.transfer / name).write_text("")

    answer = look(workspace, Ls(target="server", path="transfer"))

    assert isinstance(answer, FileList)
    assert ([row.path for row in answer.files], answer.is_complete) == (["a", "b", "c"], False)


def test_a_folder_that_is_exchanged_for_a_link_is_not_entered(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at a name and the way in."""
    (workspace.transfer / "sub").mkdir()
    (workspace.startup / "key").write_text("secret")

    def exchange(*_: object) -> bool:
        if not (workspace.transfer / "sub").is_symlink():
            (workspace.transfer / "sub").rmdir()
            (workspace.transfer / "sub").symlink_to(workspace.startup)
        return False

    monkeypatch.setattr(looking, "is_secret", exchange)
    answer = look(workspace, Ls(target="server", path="transfer", recursive=True))

    assert isinstance(answer, FileList)
    assert [row.path for row in answer.files] == ["sub"]
    with pytest.raises(PathRefused):
        look(workspace, Cat(target="server", file="transfer/sub/key"))
