"""The bytes of every message and record: those of today are those of the day it was made, and newer ones are still understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sundog.kernel.messages import Codec, Message, MessageError, Payload, encode
from sundog.kits.handover.messages import JobMessage
from sundog.kits.protocol.messages import Check, Checked, Offer, PeerMessage, RunSync, TaskFor
from sundog.kits.protocol.records import AnyRecord, Carried, OpenTask, decode_record, encode_record
from sundog.transports.link.messages import LinkMessage

from .samples import FAMILIES, MESSAGES, RECORDS, kinds

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
FRAMES: dict[str, str] = json.loads((GOLDEN / "messages.json").read_text(encoding="utf-8"))
WRITTEN: dict[str, str] = json.loads((GOLDEN / "records.json").read_text(encoding="utf-8"))
codec = Codec(LinkMessage | PeerMessage | JobMessage)


def name_of(message: Message) -> str:
    return f"{type(message).__module__.rpartition('sundog.')[2]}.{type(message).__name__}"


def tag_of(kind: Any) -> Any:
    return kind.__struct_config__.tag


@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_a_message_has_its_golden_frame(message: Message) -> None:
    """A change here is a break with every participant in the field: add a field at the end, with a default, or a new tag."""
    frame = bytes.fromhex(FRAMES[name_of(message)])

    assert encode(message) == frame
    assert codec.decode(frame + b"body") == (message, memoryview(b"body"))


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_record_has_its_golden_bytes(record: AnyRecord) -> None:
    """A change here makes every journal in the field unreadable."""
    written = bytes.fromhex(WRITTEN[name_of(record)])

    assert encode_record(record) == written
    assert decode_record(written) == record


def test_every_message_and_every_record_has_a_golden_one() -> None:
    known = {kind for family in FAMILIES.values() for kind in kinds(family)}

    assert {type(message) for message in MESSAGES} == known
    assert FRAMES.keys() == {name_of(message) for message in MESSAGES}
    assert {type(record) for record in RECORDS} == kinds(AnyRecord)
    assert WRITTEN.keys() == {name_of(record) for record in RECORDS}


def test_no_two_messages_have_one_tag_and_no_two_records() -> None:
    messages = [*{kind for family in FAMILIES.values() for kind in kinds(family)}, RunSync]
    records = [*kinds(AnyRecord), OpenTask, Carried]

    for group in (messages, records):
        tags = [tag_of(kind) for kind in group]
        assert None not in tags
        assert len(set(tags)) == len(group)


@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_a_message_of_a_newer_program_is_understood_as_far_as_this_one_knows(message: Message) -> None:
    header = msgspec.msgpack.encode([*msgspec.msgpack.decode(encode(message)[4:]), "a field of the future"])

    assert codec.decode(len(header).to_bytes(4, "big") + header)[0] == message


@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_a_message_of_an_older_program_lacks_what_has_defaults(message: Message) -> None:
    fields = msgspec.structs.fields(message)
    required = [field.name for field in fields if field.required]
    header = msgspec.msgpack.encode([tag_of(type(message)), *(getattr(message, name) for name in required)])

    older = codec.decode(len(header).to_bytes(4, "big") + header)[0]

    assert type(older) is type(message)
    assert [getattr(older, name) for name in required] == [getattr(message, name) for name in required]


def test_fields_with_defaults_stand_behind_those_without() -> None:
    for message in [*MESSAGES, *RECORDS]:
        required = [field.required for field in msgspec.structs.fields(message)]
        assert required == sorted(required, reverse=True), name_of(message)


def framed(*items: Any) -> bytes:
    header = msgspec.msgpack.encode(list(items))
    return len(header).to_bytes(4, "big") + header


@pytest.mark.parametrize(
    "frame",
    [
        framed(999, "run"),
        framed("Check", "run", {}),
        framed(40, "run"),
        framed(40, 7, {}),
        framed(),
        b"",
        b"\0\0",
        b"\0\0\0\x09abc",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x01\xc1",
        framed(40, b"\xff", {}),
    ],
    ids=["unknown tag", "text for a tag", "field missing", "wrong type", "no tag", "empty", "half length", "cut", "huge", "junk", "bytes"],
)  # fmt: skip
def test_what_is_no_message_is_a_typed_error(frame: bytes) -> None:
    with pytest.raises(MessageError):
        codec.decode(frame)


def test_a_message_of_another_family_is_not_taken() -> None:
    with pytest.raises(MessageError):
        Codec(Check | Checked).decode(encode(Offer("run", "t1", None)))


@pytest.mark.parametrize("task_id", ["../../.ssh/x", "/tmp/x", "", ".", "a/b", "x" * 64])
def test_a_task_whose_id_could_not_be_a_files_name_is_refused(task_id: str) -> None:
    """A site keeps a task's result in a file that is called after it: the server may not choose the folder."""
    task = TaskFor("run", task_id, "train", "w", 0, "site-1", 7, None, Payload(0))

    with pytest.raises(MessageError, match="matching regex"):
        codec.decode(encode(task))
