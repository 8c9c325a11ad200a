"""A kit's file is typed; what is wrong in it is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sundog.kits.workspace.folders import NoKit
from sundog.kits.workspace.kit import AdminKit, KitRefused, Limits, ServerKit, SiteKit, read_kit, write_kit

KITS = [
    ServerKit(project="p", listen="tcp://localhost:8002", limits=Limits(max_sites=3), components=[{"id": "scheduler", "name": "FIFO"}]),
    SiteKit(project="p", name="site-1", endpoints=["tcp://localhost:8002", "zmq://localhost:9002"]),
    AdminKit(project="p", endpoints=["tcp://localhost:8003"]),
]


@pytest.mark.parametrize("kit", KITS)
def test_a_kit_comes_back_as_it_was_written(tmp_path: Path, kit: ServerKit | SiteKit | AdminKit) -> None:
    write_kit(tmp_path, kit)

    assert read_kit(tmp_path, type(kit)) == (kit, ())


def test_every_key_stands_in_the_file_also_with_its_default(tmp_path: Path) -> None:
    path = write_kit(tmp_path, ServerKit(project="p"))

    found = json.loads(path.read_text())

    assert found["listen"] == "zmq://localhost:8002"
    assert found["limits"] == {"max_sites": 100, "max_job_files": 2000, "max_job_bytes": 512 * 1024 * 1024}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lisen": "x"}, "startup/fed_server.json: lisen: nobody reads the key 'lisen'; did you mean 'listen'?"),
        ({"limits": {"max_site": 1}}, "limits.max_site: nobody reads the key 'max_site'; did you mean 'max_sites'?"),
        ({"limits": {"max_sites": 0}}, "limits.max_sites: expected int >= 1, got 0"),
        ({"stall_seconds": "60"}, 'stall_seconds: expected float, got str: "60"'),
        ({"project": "a/b"}, "project: wanted letters, digits and ._- (at most 63), got 'a/b'"),
        ({"durability": "paper"}, "durability: invalid enum value 'paper', got"),
    ],
)
def test_a_mistake_is_named_with_file_key_wanted_and_got(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = write_kit(tmp_path, ServerKit(project="p"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    with pytest.raises(KitRefused) as refusal:
        read_kit(tmp_path, ServerKit)

    assert words.removesuffix(", got") in str(refusal.value)


def test_a_site_needs_an_endpoint(tmp_path: Path) -> None:
    write_kit(tmp_path, SiteKit(project="p", name="site-1", endpoints=[]))

    with pytest.raises(KitRefused, match="endpoints: expected array of length >= 1"):
        read_kit(tmp_path, SiteKit)


def test_what_only_flare_needs_gives_a_note(tmp_path: Path) -> None:
    path = write_kit(tmp_path, ServerKit(project="p"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 2, "overseer_agent": {}}))

    kit, notes = read_kit(tmp_path, ServerKit)

    assert kit == ServerKit(project="p")
    assert [note.split(": ")[1] for note in notes] == ["format_version", "overseer_agent"]


def test_the_kit_of_another_participant_is_recognised(tmp_path: Path) -> None:
    write_kit(tmp_path, ServerKit(project="p"))

    with pytest.raises(NoKit, match=r"wanted startup/fed_client.json; this is the kit of a server"):
        read_kit(tmp_path, SiteKit)
