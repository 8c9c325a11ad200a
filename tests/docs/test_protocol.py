"""Does the page of the protocol say what the code says?"""

from __future__ import annotations

import itertools
import re
from typing import Any, get_args

import pytest

from sundog.kits.handover.messages import JobMessage
from sundog.kits.protocol.messages import MAY_SAY, PeerMessage
from sundog.kits.protocol.records import AnyRecord
from sundog.transports.link.hello import Hello, HelloOk, Refusal
from sundog.transports.link.messages import LinkMessage

from .pages import Page

PAGE = Page("docs/protocol.md")
DESCRIBED_ABOVE = ("TaskFor", "Grew")
"""A supervisor and its job process say these two as server and site do."""


def described(kinds: Any) -> set[tuple[str, str, str]]:
    return {(str(kind.__struct_config__.tag), kind.__name__, ", ".join(kind.__struct_fields__)) for kind in get_args(kinds)}


@pytest.mark.parametrize(
    ("heading", "kinds"),
    [("Messages of the link", LinkMessage), ("Between participants", PeerMessage), ("Records", AnyRecord)],
)
def test_a_table_has_every_tag_with_its_name_and_its_fields(heading: str, kinds: Any) -> None:
    (table,) = PAGE.tables(heading)

    assert {tuple(row[:3]) for row in table} == described(kinds)


def test_the_page_says_who_says_what_as_the_table_of_roles_does() -> None:
    (table,) = PAGE.tables("Between participants")
    roles = ("admin", "server", "site")

    said = set()
    for _, name, _, way, *_ in table:
        path = ["site", "server", "site"] if way.startswith("both") else [word for word in re.findall(r"\w+", way) if word in roles]
        said |= {(name, speaker, hearer) for speaker, hearer in itertools.pairwise(path)}
    assert said == {(kind.__name__, *pair) for pair, kinds in MAY_SAY.items() for kind in kinds}


def test_the_table_of_the_hand_over_leaves_out_what_stands_above() -> None:
    (table,) = PAGE.tables("Between a supervisor and its job process")

    assert {tuple(row[:3]) for row in table} == {row for row in described(JobMessage) if row[1] not in DESCRIBED_ABOVE}


def test_the_first_frames_have_the_keys_that_the_page_lists() -> None:
    keys = [[row[0] for row in table] for table in PAGE.tables("HELLO")]

    assert keys == [list(kind.__struct_fields__) for kind in (Hello, HelloOk, Refusal)]
