"""How a frame is laid out: header and body, and the payloads in a body."""

from __future__ import annotations

import pytest

from sundog.kernel.messages import INLINE_LIMIT_BYTES, MAX_HEADER_BYTES, Codec, Message, MessageError, Payload, encode, split_body
from sundog.kernel.transport import FrameTooLarge

SHA = "ab" * 32


class Note(Message, tag=1):
    text: str
    later: int = 7


class Carrying(Message, tag=2):
    payload: Payload


codec = Codec(Note)


def test_a_frame_is_a_length_a_header_and_a_body_that_nobody_decodes() -> None:
    frame = encode(Note("hi")) + b"\xff\x00 anything"

    message, body = codec.decode(frame)

    assert message == Note("hi")
    assert bytes(body) == b"\xff\x00 anything"
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4 - len(body)


def test_a_header_that_says_more_than_is_allowed_is_refused_before_anything_is_read() -> None:
    with pytest.raises(MessageError, match=f"said to have {MAX_HEADER_BYTES + 1} bytes"):
        codec.decode((MAX_HEADER_BYTES + 1).to_bytes(4, "big") + bytes(MAX_HEADER_BYTES + 1))


def test_a_header_that_would_be_refused_is_not_sent() -> None:
    """The sender would lose its link each time that it says it."""
    with pytest.raises(FrameTooLarge, match="at most 4,194,304 bytes, got 4,194,312 in Note"):
        encode(Note("x" * MAX_HEADER_BYTES))
    assert codec.decode(encode(Note("x" * (MAX_HEADER_BYTES - 8))))[0].later == 7


def test_a_channel_may_have_a_smaller_limit() -> None:
    frame = encode(Note("x" * 100), max_header_bytes=110)

    assert Codec(Note, max_header_bytes=110).decode(frame)[0] == Note("x" * 100)
    with pytest.raises(MessageError, match="said to have 105 bytes"):
        Codec(Note, max_header_bytes=104).decode(frame)
    with pytest.raises(FrameTooLarge):
        encode(Note("x" * 100), max_header_bytes=104)


def test_a_payloads_name_is_no_longer_than_a_files() -> None:
    with pytest.raises(MessageError, match="<= 255"):
        Codec(Carrying).decode(encode(Carrying(Payload(1, name="x" * 256))))


def test_payloads_ride_in_order_small_ones_with_their_bytes() -> None:
    payloads = [Payload(2, SHA, 3), Payload(1, SHA, INLINE_LIMIT_BYTES + 1), Payload(1), Payload(0, SHA, 1)]

    assert split_body(payloads, b"m1abcm3x") == [(b"m1", b"abc"), (b"m", None), (b"3", None), (b"", b"x")]


def test_a_blob_of_exactly_the_limit_rides_along_and_an_empty_one_too() -> None:
    assert Payload(0, SHA, INLINE_LIMIT_BYTES).is_inline
    assert not Payload(0, SHA, INLINE_LIMIT_BYTES + 1).is_inline
    assert split_body([Payload(0, SHA, 0)], b"") == [(b"", b"")]


@pytest.mark.parametrize(
    ("payloads", "body"),
    [
        ([Payload(2, SHA, 3)], b"m1ab"),
        ([Payload(2, SHA, 3)], b"m1abcd"),
        ([], b"x"),
        ([Payload(-1, SHA, 3), Payload(1)], b"abc"),
        ([Payload(2, SHA, -1)], b"m"),
        ([Payload(1, shared_bytes=2)], b"m"),
    ],
    ids=["short", "long", "nothing announced", "negative meta", "negative size", "more shared than in front"],
)
def test_a_body_that_is_not_what_its_payloads_say_is_refused(payloads: list[Payload], body: bytes) -> None:
    with pytest.raises(MessageError, match="the payloads want"):
        split_body(payloads, body)


@pytest.mark.parametrize("name", ["../../startup/server.json", "/etc/passwd", "stream:run/log.txt", "AB" * 32, SHA + "0", SHA + "\n", "."])
def test_what_is_no_sha256_cannot_become_the_name_of_a_file(name: str) -> None:
    """Supervisors lay a payload's bytes where its hash says: a peer may not choose the place."""
    with pytest.raises(MessageError, match="matching regex"):
        Codec(Carrying).decode(encode(Carrying(Payload(1, name, 3))) + b"mabc")
    assert Codec(Carrying).decode(encode(Carrying(Payload(1))))[0] == Carrying(Payload(1))
