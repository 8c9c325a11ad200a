"""Does the page of the console say what the tables of commands say?"""

from __future__ import annotations

from sundog.kits.admin.commands import parse, typed_commands
from sundog.kits.console.help import usage_line
from sundog.kits.console.line import read_line
from sundog.kits.console.local import all_commands, find_command

from ..test_house import ROOT, load
from .pages import Page

PAGE = Page("docs/console.md")


def test_the_page_is_current() -> None:
    generator = load("generate_console", ROOT / "docs" / "generate_console.py")

    assert PAGE.text == generator.page(), "run `make console`"


def test_the_page_shows_the_usage_of_every_command() -> None:
    shown = {block.splitlines()[0] for block in PAGE.blocks("text")}

    assert shown == {f"Usage: {usage_line(command)}" for command in all_commands().values()}


def test_the_commands_of_its_script_can_be_given() -> None:
    lines = [read_line(line) for block in PAGE.blocks("script") for line in block.splitlines()]

    names = {find_command(line.words[0]).name for line in lines if line.command}
    assert names == {"submit_job", "list_jobs"}
    assert all(parse(line.command)[0] is typed_commands()[line.words[0]] for line in lines if line.command)
