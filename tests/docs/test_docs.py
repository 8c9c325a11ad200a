"""Is the documentation true? Blocks run or parse, links lead somewhere, commands exist."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from sundog.kernel.errors import SundogError
from sundog.kits.admin.commands import parse
from sundog.kits.cli.main import sundog
from sundog.kits.cli.poc import command as poc

from .pages import PAGES, ROOT, WALKS, Page

DEADLINE_SECONDS = 250
BLOCK = "=== block "


@pytest.mark.parametrize("name", WALKS)
def test_every_command_block_of_a_walk_runs(name: str, tmp_path: Path, marked: Any, nothing_left: Any) -> None:
    """T198: the blocks in the order of the page, in one shell and an empty folder; what ```output blocks show comes out."""
    blocks = Page(name).blocks("sh")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    script, output = tmp_path / "walk.sh", tmp_path / "walk.txt"
    numbered = enumerate(map(with_free_ports, blocks), 1)
    script.write_text("".join(f"echo '{BLOCK}{number}'\n{block}" for number, block in numbered), encoding="utf-8")
    marked.environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}

    with output.open("w") as out:
        shell = marked.popen("sh", "-eu", script, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            status: int | str = shell.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            status = f"not over after {DEADLINE_SECONDS} s"

    said = output.read_text(encoding="utf-8")
    number = int(said.rpartition(BLOCK)[2].partition("\n")[0])
    assert status == 0, f"{name}, block {number}: status {status}\n{blocks[number - 1]}\n{said}"
    assert number == len(blocks)
    promised = [line for block in Page(name).blocks("output") for line in block.splitlines()]
    assert [line for line in promised if without_seconds(line) not in without_seconds(said)] == []
    nothing_left(tmp_path / "poc")


def without_seconds(text: str) -> str:
    return re.sub(r" +\d+\.\d+ s", " … s", text)


def with_free_ports(block: str) -> str:
    """A reader may have the ports that a POC takes by default; a test may not count on them."""
    return block.replace("poc -n", "poc --fl-port 0 --admin-port 0 -n")


def test_every_link_leads_somewhere() -> None:
    assert [f"{page}: {link}" for page in PAGES for link in page.links() if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Page, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    return target.exists() and (not anchor or anchor in Page(str(target.relative_to(ROOT))).anchors())


def test_every_block_of_code_parses() -> None:
    parsers: dict[str, Callable[[str], Any]] = {"python": ast.parse, "json": json.loads, "toml": tomllib.loads}
    for page, (language, parse_block) in itertools.product(PAGES, parsers.items()):
        for block in page.blocks(language):
            try:
                parse_block(block)
            except (SyntaxError, ValueError) as exc:
                pytest.fail(f"{page}: {exc}\n{block}")


def test_every_command_that_is_named_exists() -> None:
    """Down to its sub-command and its options; what is given to `admin -c` down to its arguments."""
    wrong = [f"{page}: {line}: {what}" for page in PAGES for line in page.commands() if (what := mistake_in(line.split()))]

    assert wrong == []


def mistake_in(words: list[str]) -> str:
    command: click.Command = {"sundog": sundog, "poc": poc}[words[0]]
    rest = words[1:]
    while isinstance(command, click.Group) and rest and rest[0].isalpha() and rest[0].islower():
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            return f"there is no {rest[0]}"
        command, rest = found, rest[1:]
    known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help", "--version"}
    ours = itertools.takewhile(lambda word: not word.startswith(('"', "'")), rest)  # behind a quote an option is the admin command's
    unknown = [word for word in ours if word.startswith("-") and word not in known]
    return f"{command.name} has no {unknown}" if unknown else mistake_in_admin_line(" ".join(rest))


def mistake_in_admin_line(text: str) -> str:
    line = re.search(r"""-c (["'])(.*?)\1""", text)
    try:
        if line is not None:
            parse(line[2])
    except SundogError as exc:
        return str(exc)
    return ""


def test_the_index_names_every_page() -> None:
    folder = ROOT / "docs"
    linked = {link.partition("#")[0] for link in Page("docs/README.md").links()}

    assert {path.name for path in folder.glob("*.md")} - {"README.md"} <= linked


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {word for page in PAGES for word in re.findall(r"^(?:\$ )?make (\w+)", page.text, re.MULTILINE)}

    assert {"demo", "test", "check"} <= named
    assert [target for target in named if f"\n{target}:" not in makefile] == []
