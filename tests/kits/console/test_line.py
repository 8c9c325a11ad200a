"""A line is taken apart as a shell would."""

from __future__ import annotations

from pathlib import Path

import pytest

from sundog.kits.admin.commands import CommandMisused
from sundog.kits.console.line import Line, read_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", Line("")),
        ("   ", Line("")),
        ("# a comment > nowhere", Line("")),
        ("list_jobs -d", Line("list_jobs -d")),
        ("list_jobs > f", Line("list_jobs", Path("f"))),
        ("list_jobs>f", Line("list_jobs", Path("f"))),
        ("list_jobs >> 'my file'", Line("list_jobs", Path("my file"), appends=True)),
        ("submit_job 'a > b'", Line("submit_job 'a > b'")),
        ('submit_job "a \\" > b"', Line('submit_job "a \\" > b"')),
        ("submit_job a\\>b", Line("submit_job a\\>b")),
    ],
)
def test_what_a_line_says(text: str, line: Line) -> None:
    assert read_line(text) == line


@pytest.mark.parametrize("text", ["list_jobs >", "list_jobs > a b", "list_jobs >>> a", "list_jobs > a > b", "list_jobs > 'a"])
def test_one_file_is_wanted_behind_the_sign(text: str) -> None:
    with pytest.raises(CommandMisused):
        read_line(text)


def test_an_open_quotation_is_a_usage_error() -> None:
    with pytest.raises(CommandMisused, match="No closing quotation"):
        _ = read_line("submit_job 'a").words
