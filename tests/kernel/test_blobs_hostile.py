"""Can a sender of damaged or hostile bytes do more than get a coded refusal?"""

from __future__ import annotations

import random
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from sundog.kernel.blobs import Blob
from sundog.kernel.errors import PayloadError
from sundog.kernel.packing import pack
from sundog.kernel.shareable import Shareable
from sundog.kernel.tensors import head_size, parse

MUTATIONS = 4000
GOOD = Shareable(
    "WEIGHTS",
    {"layer.weight": np.ones((3, 4), np.float32), "layer.bias": np.ones(4, ml_dtypes.bfloat16), "é": np.zeros((2, 0)), "n": np.array(3)},
    {"num_examples": 5, "metrics": {"loss": 0.25}, "list": [1, None, True, "text"]},
)
PIECES = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"-",
    b"9" * 30,
    b"1e999",
    b"null",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"F64",
    b'"shape":',
    b"[0,0]",
)


def mutated(good: bytes, rng: random.Random) -> bytes:
    """One to four random changes: a bit, a piece put in, a cut, a piece moved."""
    data = bytearray(good)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) or 1)
        match rng.randrange(5):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                data[at:at] = rng.choice(PIECES)
            case 2:
                del data[at : at + rng.randint(1, 8)]
            case 3:
                data[at:at] = data[at : at + rng.randint(1, 80)]
            case _:
                data[at : at + 1] = rng.choice((b"0", b"1", b"2", b"4", b"8"))
    return bytes(data)


def with_right_length(data: bytes, good_head: int) -> bytes:
    """The mutated header, announced with its true length, so that mutations reach the JSON."""
    text = data[8:good_head]
    return len(text).to_bytes(8, "little") + text + data[good_head:]


def test_a_mutated_blob_is_refused_with_a_code_or_read_within_its_bounds() -> None:
    """T104, in part: payloads. Whatever is accepted tiles the file, so that no read leaves it."""
    rng = random.Random(104)
    good = pack(GOOD.tensors).inline
    assert good is not None
    outcomes = {True: 0, False: 0}
    for number in range(MUTATIONS):
        data = mutated(good, rng)
        if number % 2:
            data = with_right_length(data, head_size(good[:8], len(good)))
        try:
            blob = Blob.of_bytes(data)
            arrays = blob.map()
        except PayloadError:
            outcomes[False] += 1
        else:
            assert sum(array.nbytes for array in arrays.values()) == len(data) - len(blob.layout.head)
            assert pack(arrays).layout.is_canonical()
            outcomes[True] += 1
    assert min(outcomes.values()) > 100, outcomes


def test_mutated_meta_is_refused_with_a_code_or_is_meta_again() -> None:
    """T104, in part: meta."""
    rng = random.Random(105)
    good, blob = GOOD.encode_meta(), GOOD.blob()
    outcomes = {True: 0, False: 0}
    for _ in range(MUTATIONS):
        try:
            found = Shareable.decode(mutated(good, rng), blob)
        except PayloadError:
            outcomes[False] += 1
        else:
            assert found == Shareable.decode(found.encode_meta(), blob)
            outcomes[True] += 1
    assert min(outcomes.values()) > 100, outcomes


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":{"dtype":"F64","shape":[1000000000000],"data_offsets":[0,8000000000000]}}',
        b'{"a":{"dtype":"U8","shape":[0,4611686018427387904],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"U8","shape":[' + b"9" * 4000 + b'],"data_offsets":[0,1]}}',
        b'{"a":{"shape":[' + b"0," * 500_000 + b"0]}}",
        b'{"a":[' + b'"xy",' * 200_000 + b'"xy"]}',
        b"{" + b",".join(b'"%d":0' % i for i in range(200_000)) + b"}",
        b"{" + b",".join(b'"%d":{}' % i for i in range(150_000)) + b"}",
        b'{"a":' * 100_000 + b"0" + b"}" * 100_000,
        b'{"a":{"a":' + b"[" * 1_000_000,
    ],
    ids=["terabytes", "overflow", "digits", "rank", "junk list", "junk keys", "empty records", "nested", "open"],
)
def test_what_a_header_announces_is_checked_before_memory_is_taken_for_it(text: bytes) -> None:
    """Sizes are checked before allocation: refusing takes memory in proportion to the header that was sent, no more."""
    head = len(text).to_bytes(8, "little") + text
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError):
            parse(head, len(head) + 64)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 64 * 1024 + 40 * len(head)


@pytest.mark.parametrize("length", [2**63, 2**40, 16 * 1024 * 1024 + 1, 1_000_000])
def test_an_announced_header_length_takes_no_memory(length: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError):
            head_size(length.to_bytes(8, "little"), 1_000_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 * 1024
