"""Can mutated frames on a link harm anybody but the one who sends them?"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from sundog.transports import endpoints

from .mallory import FRAMES, HELLO, send_all
from .sides import Sides, note

MIB = 1024 * 1024


async def test_mutated_frames_harm_only_their_sender(sides: Sides) -> None:
    """T104: each is a typed error, that peer is dropped, another link goes on, and memory stays bounded."""
    server, site = await sides.pair()
    sides.server.on_message = lambda link, message, body: link.send(message) if link is server else None
    mallory = asyncio.ensure_future(send_all(sides.listeners[0].address, random.Random(104), FRAMES))
    tracemalloc.start()

    echoes = 0
    while not mallory.done():
        site.send(note(echoes))
        assert await sides.sites[0].messages.get() == (note(echoes), b"")
        echoes += 1
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert mallory.result() > FRAMES // 10
    assert echoes > 100
    assert server.is_up
    assert sides.sites[0].downs.empty()
    reasons = [sides.server.downs.get_nowait() for _ in range(sides.server.downs.qsize())]
    assert len(reasons) > 100
    assert {reason[:9] for reason in reasons} <= {"[SD-1231]", "[SD-2001]", "[SD-2002]", "[SD-2113]", "[SD-2114]", "[SD-2124]"}
    assert peak_bytes < 16 * MIB


@pytest.mark.parametrize("wire", ["tcp", "grpc", "zmq"])
async def test_mutated_frames_make_a_server_import_open_and_execute_nothing(wire: str) -> None:
    """T104: a process whose audit hook sees it all, from the first link on."""
    server = subprocess.Popen(  # noqa: ASYNC220  # before anything else runs
        [sys.executable, "-P", str(Path(__file__).with_name("audited_server.py")), f"{wire}://127.0.0.1:0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        connection = await endpoints.connect(address)
        await connection.send(HELLO)
        await connection.receive()
        await connection.close()

        connections = await send_all(address, random.Random(104), FRAMES)
        said, _ = await asyncio.to_thread(server.communicate, timeout=60)

    assert server.returncode == 0
    report = json.loads(said)
    assert connections > FRAMES // 10
    assert report["links"] > FRAMES // 20
    assert report["events"] == []
