"""Does the reader cut a stream into frames, however the bytes come in pieces?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.kernel.transport import FrameTooLarge, MalformedFrame
from sundog.transports.framing import GOODBYE, FrameReader

MIB = 1024 * 1024


def feed(reader: FrameReader, stream: bytes, pieces: list[int] | None = None) -> None:
    """Give the stream to the reader in pieces of these sizes, the last one again and again."""
    pieces = list(pieces or [len(stream)])
    while stream:
        space = reader.space()
        count = min(len(space), len(stream), pieces.pop(0) if len(pieces) > 1 else pieces[0])
        space[:count] = stream[:count]
        space.release()
        reader.advance(count)
        stream = stream[count:]


def a_reader(limit: int = 100 * MIB) -> tuple[FrameReader, list[bytes]]:
    frames: list[bytes] = []
    return FrameReader(lambda frame, _: frames.append(bytes(frame)), max_frame_bytes=limit), frames


def framed(*frames: bytes) -> bytes:
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


@given(
    st.lists(st.one_of(st.binary(max_size=20), st.integers(0, 150_000).map(bytes)), max_size=5),
    st.lists(st.integers(97, 100_000), min_size=1, max_size=8),
)
def test_frames_are_the_same_whatever_the_pieces(sent: list[bytes], pieces: list[int]) -> None:
    reader, frames = a_reader()

    feed(reader, framed(*sent), pieces)

    assert frames == sent
    assert not reader.is_inside


def test_byte_by_byte() -> None:
    reader, frames = a_reader()

    feed(reader, framed(b"", b"one", b"") + GOODBYE, [1])

    assert frames == [b"", b"one", b""]
    assert reader.has_ended


def test_a_frame_longer_than_the_first_memory_arrives_whole() -> None:
    reader, frames = a_reader()
    long = bytes(range(256)) * (13 * 1024)

    feed(reader, framed(long, b"next"), [999_999])

    assert frames == [long, b"next"]


def test_a_stream_that_stops_in_a_frame_is_known() -> None:
    for stream in (b"\0", b"\0\0\0\5", framed(b"whole") + framed(b"half")[:-1]):
        reader, _ = a_reader()

        feed(reader, stream)

        assert reader.is_inside


def test_what_follows_a_goodbye_is_ignored() -> None:
    reader, frames = a_reader()

    feed(reader, framed(b"last") + GOODBYE + framed(b"after"))

    assert frames == [b"last"]
    assert reader.has_ended


def test_a_frame_over_the_limit_is_refused_after_those_before_it() -> None:
    reader, frames = a_reader(limit=10)

    with pytest.raises(FrameTooLarge, match="11 bytes is over the limit of 10"):
        feed(reader, framed(b"good", bytes(10), bytes(11)))

    assert frames == [b"good", bytes(10)]


def test_a_reserved_length_is_malformed() -> None:
    reader, _ = a_reader()

    with pytest.raises(MalformedFrame, match="0xffffff01"):
        feed(reader, b"\xff\xff\xff\x01")


def test_a_limit_among_the_reserved_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="max_frame_bytes"):
        FrameReader(lambda frame, size: None, max_frame_bytes=0xFFFFFF00)
