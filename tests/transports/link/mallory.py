"""Who speaks to a server as nobody should? HELLO, rightly or nearly so, then frames that had accidents."""

from __future__ import annotations

import random

from sundog.kernel.errors import Failure, TransportError
from sundog.kernel.messages import Payload, encode
from sundog.kits.protocol.messages import Offer, RunSync, Sync
from sundog.transports import endpoints
from sundog.transports.link import Identity
from sundog.transports.link.hello import encode_hello
from sundog.transports.link.messages import Bye, Chunk, Credit, Done, Get, Ping, Pong, TransferFailed

from .sides import PROJECT, note

FRAMES = 10_000
"""Over each wire."""
FRAMES_A_CONNECTION = 8
"""Some of them arrive after the one that is too many; fewer a connection, more are looked at."""

HELLO = encode_hello(Identity(PROJECT, "site", "mallory", "m").hello(0))
VALID = [
    HELLO,
    encode(Ping(7)),
    encode(Pong(7)),
    encode(Bye("enough")),
    encode(Sync([RunSync("run", ["a"], ["b"])], {"gpu": 2})),
    encode(Get(1, "0" * 64, 0, 1024)),
    encode(Chunk(2, 0)) + b"data",
    encode(Credit(1, 4096)),
    encode(Done(2, 4)),
    encode(TransferFailed(1, Failure("SD-2126", "no"))),
    encode(Offer("run", "task", Payload(3, "0" * 64, 5))) + b"metablob!",
    encode(note(1)),
]


def mutated(rng: random.Random, frame: bytes) -> bytes:
    """The frame after one to three accidents."""
    changed = bytearray(frame)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(changed)) if changed else 0
        accident = rng.randrange(6)
        if accident == 0 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif accident == 1:
            del changed[at:]
        elif accident == 2:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif accident == 3:
            changed[at:at] = rng.choice([b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 2000])
        elif accident == 4:
            changed[:4] = rng.choice([0, 4, 2**22, 2**31, 2**32 - 1, len(changed)]).to_bytes(4, "big")
        else:
            changed[at : at + 8] = rng.randbytes(8)
    return bytes(changed)


async def send_all(address: str, rng: random.Random, count: int) -> int:
    """Say HELLO, rightly or nearly so, then mutated frames until the server has enough, again and again; how often."""
    connections = 0
    while count > 0:
        connections += 1
        connection = await endpoints.connect(address)
        try:
            await connection.send(mutated(rng, HELLO) if rng.random() < 0.2 else HELLO)
            count -= 1
            await connection.receive()
            for _ in range(min(count, FRAMES_A_CONNECTION)):
                count -= 1
                await connection.send(mutated(rng, rng.choice(VALID)))
        except TransportError:
            pass  # this was the frame too many
        finally:
            await connection.close()
    return connections
