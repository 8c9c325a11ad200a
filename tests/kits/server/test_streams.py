"""The growing files of sites: as long as they said, one Get at a time, and no site holds up the end of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from sundog.kits.server import streams as module
from sundog.kits.server.streams import Streams
from sundog.transports.link.link import Link, LinkClosed
from sundog.transports.link.partfile import CannotWrite

Fetch = Callable[[str, int, Path], Any]


def link(fetch: Fetch) -> Link:
    return cast("Link", SimpleNamespace(peer=SimpleNamespace(name="site-1"), transfers=SimpleNamespace(fetch=fetch)))


async def test_what_grows_while_it_is_fetched_is_fetched_too(tmp_path: Path) -> None:
    read: list[int] = []
    asked: list[int] = []
    streams = Streams(lambda _run, _site, _stream, size: read.append(size))
    target = tmp_path / "metrics" / "site-1.jsonl"

    async def fetch(key: str, size: int, _target: Path) -> int:
        assert key == "stream:r/metrics.jsonl"
        asked.append(size)
        if size == 10:
            streams.grew(site, "r", "metrics.jsonl", 30, target)
            streams.grew(site, "r", "metrics.jsonl", 20, target)
        return size

    site = link(fetch)
    streams.grew(site, "r", "metrics.jsonl", 10, target)
    await streams.settle("r")

    assert asked == read == [10, 30]
    assert target.parent.is_dir()


async def test_a_site_that_is_away_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.05)
    streams = Streams(lambda *_: None)

    async def fetch(_key: str, _size: int, _target: Path) -> int:
        await asyncio.get_running_loop().create_future()
        return 0

    streams.grew(link(fetch), "r", "metrics.jsonl", 10, tmp_path / "file")

    async with asyncio.timeout(20):
        await streams.settle("r")
        await streams.settle("another run")
    await streams.close()


async def test_one_that_broke_off_is_asked_for_again_when_it_grows(tmp_path: Path) -> None:
    asked: list[int] = []
    streams = Streams(lambda *_: None)

    async def fetch(_key: str, size: int, _target: Path) -> int:
        asked.append(size)
        if size == 10:
            raise LinkClosed("gone")
        return size

    site = link(fetch)
    for size in (10, 20):
        streams.grew(site, "r", "metrics.jsonl", size, tmp_path / "file")
        await streams.settle("r")

    assert asked == [10, 20]


async def test_a_site_that_says_more_than_it_has_is_not_asked_for_ever(tmp_path: Path) -> None:
    asked: list[int] = []
    streams = Streams(lambda *_: None)

    async def fetch(_key: str, size: int, _target: Path) -> int:
        asked.append(size)
        return 7

    streams.grew(link(fetch), "r", "metrics.jsonl", 10, tmp_path / "file")
    await streams.settle("r")

    assert asked == [10, 10]


@pytest.mark.parametrize("error", [None, IsADirectoryError(21, "Is a directory"), CannotWrite("Is a directory")])
async def test_one_that_cannot_be_written_is_said_once_and_not_asked_for_again(tmp_path: Path, error: Exception | None) -> None:
    """None: job code has put a file in the place of the folder."""
    streams = Streams(lambda *_: None)
    asked: list[int] = []
    if error is None:
        (tmp_path / "metrics").write_text("in the way")

    async def fetch(_key: str, size: int, _target: Path) -> int:
        asked.append(size)
        assert error is not None
        raise error

    site = link(fetch)
    with capture_logs() as said:
        for size in (10, 20):
            streams.grew(site, "r", "metrics.jsonl", size, tmp_path / "metrics" / "site-1.jsonl")
            await streams.settle("r")

    assert asked == ([] if error is None else [10])
    assert [(line["event"], line["site"]) for line in said] == [("stream_not_written", "site-1")]
