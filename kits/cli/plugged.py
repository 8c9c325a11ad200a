"""Sub-commands of plugins: entry points of the group sundog.cli, `word = "package.module:command"`.

They are no register hook: `sundog --help` lists them without importing a plugin, by the summary of its distribution.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from importlib import metadata

GROUP = "sundog.cli"
_METADATA = (".dist-info", ".egg-info", "EGG-INFO")


def sub_commands() -> dict[str, list[metadata.EntryPoint]]:
    """Word → the entry points that claim it, without those of blocked plugins."""
    if not any(map(_may_have_some, sys.path)):
        return {}
    from importlib import metadata

    found: dict[str, list[metadata.EntryPoint]] = {}
    entries = sorted(metadata.entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))
    for entry in entries:
        if not _is_blocked(entry):
            found.setdefault(entry.name, []).append(entry)
    return found


def _may_have_some(place: str) -> bool:
    """Whether a distribution there may have an entry point of the group: importing importlib.metadata takes as long as all of --help."""
    try:
        with os.scandir(place or ".") as entries:
            found = [entry.path for entry in entries if entry.name.endswith(_METADATA)]
    except NotADirectoryError:  # an archive: importlib.metadata can look into it
        return True
    except OSError:
        return False
    return any(GROUP.encode() in _content(f"{path}/entry_points.txt") for path in found)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # pathlib is not imported yet, and takes its time, too
            return file.read()
    except OSError:
        return b""


def summaries(built_in: dict[str, str]) -> list[tuple[str, str]]:
    """Word and a few words on it, of each that a plugin brings."""
    rows = []
    for word, entries in sub_commands().items():
        owners = [_owner(entry) for entry in entries]
        if len(owners) == 1 and word not in built_in:
            rows.append((word, f"{_summary(entries[0])} ({owners[0]})".strip()))
        else:
            rows.append((word, f"Not usable: claimed by {' and '.join(['Sundog', *owners] if word in built_in else owners)}."))
    return rows


def load(word: str) -> click.Command | None:
    """The sub-command of a plugin; None if there is none of this name.

    Raises:
        NameTaken: several plugins claim the word.
        NoSubCommand: it is not a click.Command.
        ModuleMissing, LibraryMissing, ImportBroke: it cannot be imported.
    """
    entries = sub_commands().get(word)
    if entries is None:
        return None
    from ...kernel.importing import import_object
    from ...kernel.plugins import NameTaken
    from .failures import NoSubCommand

    if len(entries) > 1:
        raise NameTaken(f"the sub-command {word!r} is claimed by {' and '.join(map(_owner, entries))}")
    command = import_object(entries[0].value)
    if not isinstance(command, click.Command):
        raise NoSubCommand(
            f"wanted a click.Command, got {type(command).__name__} ({entries[0].value})", where=f"{_owner(entries[0])}: {word}"
        )
    return command


def _summary(entry: metadata.EntryPoint) -> str:
    about = entry.dist.metadata if entry.dist is not None else {"Summary": ""}
    return about["Summary"] if "Summary" in about else ""  # noqa: SIM401  # a distribution's metadata has no `get`


def _owner(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def _is_blocked(entry: metadata.EntryPoint) -> bool:
    """Whether the plugin of its distribution is."""
    if not os.environ.get("SUNDOG_BLOCK_PLUGINS"):  # then `sundog --help` need not import the plugins' own module
        return False
    from ...kernel.plugins import ENTRY_POINT_GROUP, blocked_names

    others = entry.dist.entry_points if entry.dist is not None else ()
    return bool(blocked_names() & {"*", entry.name, *(one.name for one in others if one.group == ENTRY_POINT_GROUP)})
