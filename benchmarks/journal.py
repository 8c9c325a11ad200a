"""A record of a step: what it costs to write it to the journal in the writer's thread, until it is acknowledged."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sundog.kits.protocol.records import StepReopened
from sundog.kits.workspace.journal import Journal
from sundog.transports.link import Writer

from .figures import Figure

RECORDS = 500
PADDING_CHARACTERS = 300


def appends() -> Iterator[Figure]:
    """Part of W1: several a round."""
    milliseconds = [seconds * 1000 for seconds in asyncio.run(_append())]
    yield Figure("W1 record", "a record of 300 bytes, written and acknowledged", "ms", milliseconds)


async def _append() -> list[float]:
    record = StepReopened("", "workflow" + "x" * PADDING_CHARACTERS, 0, 1)
    seconds = []
    with tempfile.TemporaryDirectory(prefix="sundog-bench-") as folder:
        async with Writer() as writer:
            journal = Journal(Path(folder) / "journal", writer)
            await journal.append([record])
            for _ in range(RECORDS):
                started = time.perf_counter()
                await journal.append([record])
                seconds.append(time.perf_counter() - started)
            await journal.close()
    return seconds
