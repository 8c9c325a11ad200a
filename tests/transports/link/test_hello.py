"""Do two sides of any two versions understand each other's first word?"""

from __future__ import annotations

import msgspec
import pytest

from sundog.kernel.errors import known_errors
from sundog.transports.link.hello import (
    _REASONS,
    MAX_HELLO_BYTES,
    Hello,
    HelloOk,
    Identity,
    Refusal,
    encode_hello,
    pick_version,
    read_answer,
    read_hello,
)
from sundog.transports.link.refusals import (
    BadHello,
    NotServing,
    Refused,
    RefusedOtherwise,
    WrongVersion,
)

HELLO = Hello((1, 1), "clinic", "site", "site-1", "abc", 7, b"nonce")
OK = HelloOk(1, 7, b"grant", "xyz", b"ecnon", {"frame_bytes": 10})


def test_hello_is_frozen() -> None:
    """These bytes never change: any two versions must be able to read each other's."""
    assert encode_hello(HELLO).hex() == (
        "87a570726f746f920101a770726f6a656374a6636c696e6963a4726f6c65a473697465a46e616d65a6736974652d31"
        "a8696e7374616e6365a3616263a97465726d5f7365656e07a56e6f6e6365c4056e6f6e6365"
    )
    assert msgspec.msgpack.decode(encode_hello(OK)) == {
        "proto": 1,
        "term": 7,
        "grant": b"grant",
        "instance": "xyz",
        "nonce": b"ecnon",
        "limits": {"frame_bytes": 10},
    }


def test_unknown_keys_are_ignored() -> None:
    later = msgspec.msgpack.decode(encode_hello(HELLO)) | {"mood": "sunny", "caps": ["zip"]}

    assert read_hello(msgspec.msgpack.encode(later), "here") == msgspec.structs.replace(HELLO, caps=["zip"])


def test_a_certificate_travels_along() -> None:
    identity = Identity("clinic", "site", "site-1")

    hello = read_hello(encode_hello(identity.hello(3, b"der")), "here")

    assert (hello.cert, hello.term_seen, hello.peer.instance) == (b"der", 3, identity.instance)
    assert len(hello.nonce) == 16


@pytest.mark.parametrize(
    ("frame", "word"),
    [
        (b"", "truncated"),
        (b"GET / HTTP/1.1\r\n", "Expected `object`"),
        (msgspec.msgpack.encode({"proto": [1, 1]}), "missing required field `project`"),
        (encode_hello(msgspec.structs.replace(HELLO, name="../../etc/passwd")), "matching regex"),
        (encode_hello(msgspec.structs.replace(HELLO, name="site-1\n")), "matching regex"),
        (encode_hello(msgspec.structs.replace(HELLO, role="")), "matching regex"),
        (encode_hello(msgspec.structs.replace(HELLO, name="x" * 65)), "length <= 64"),
        (encode_hello(msgspec.structs.replace(HELLO, term_seen=-1)), ">= 0"),
        (encode_hello(msgspec.structs.replace(HELLO, cert=bytes(MAX_HELLO_BYTES))), "wanted at most 65,536 bytes"),
        (b"\x91" * 10_000, "Expected `object`"),
    ],
)
def test_anything_else_is_told(frame: bytes, word: str) -> None:
    with pytest.raises(BadHello, match=word) as error:
        read_hello(frame, "tcp://127.0.0.1:9")

    assert error.value.where == "tcp://127.0.0.1:9"


@pytest.mark.parametrize(("theirs", "ours", "picked"), [((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((2, 9), (1, 4), 4), ((1, 4), (4, 9), 4)])
def test_the_server_picks_the_newest_common_version(theirs: tuple[int, int], ours: tuple[int, int], picked: int) -> None:
    assert pick_version(theirs, ours) == picked


@pytest.mark.parametrize(("theirs", "ours", "side"), [((1, 2), (3, 4), "the dialling side"), ((5, 6), (3, 4), "the server")])
def test_without_a_common_version_the_older_side_is_named(theirs: tuple[int, int], ours: tuple[int, int], side: str) -> None:
    with pytest.raises(
        WrongVersion, match=f"speaks versions {theirs[0]} to {theirs[1]}, the server {ours[0]} to {ours[1]}: upgrade {side}"
    ):
        pick_version(theirs, ours)


@pytest.mark.parametrize("kind", list(_REASONS.values()))
def test_a_refusal_is_the_same_error_at_the_other_side(kind: type[Refused]) -> None:
    said = encode_hello(Refusal.of(kind("because", cure="do this")))

    with pytest.raises(kind, match="because") as error:
        read_answer(said, "tcp://server:1")

    assert (error.value.cure, error.value.where) == ("do this", "tcp://server:1")


def test_a_standby_hands_on_the_grant_it_knows() -> None:
    with pytest.raises(NotServing) as error:
        read_answer(encode_hello(Refusal.of(NotServing("standby", grant=b"signed"))), "here")

    assert error.value.grant == b"signed"


def test_a_refusal_of_a_later_version_keeps_its_words() -> None:
    later = msgspec.msgpack.encode({"error": "SD-2999", "what": "wrong phase of the moon", "extra": 1})

    with pytest.raises(RefusedOtherwise, match="SD-2999: wrong phase of the moon"):
        read_answer(later, "here")


def test_an_answer_that_is_not_a_refusal_is_hello_ok() -> None:
    assert read_answer(encode_hello(OK), "here") == OK


def test_codes_of_the_link_are_in_its_range() -> None:
    kinds = [kind for kind in known_errors().values() if ".transports.link." in kind.__module__]

    assert len(kinds) > 20
    assert all("SD-2101" <= kind.code <= "SD-2199" for kind in kinds)
