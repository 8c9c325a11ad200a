"""That a file has grown is heard, not looked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sundog.kits.workspace.file_watch import FileWatch


async def test_a_file_that_comes_and_grows_is_heard(tmp_path: Path) -> None:
    news = asyncio.Event()
    watch = FileWatch(tmp_path, "log.txt", news.set)
    for text in ("first\n", "second\n"):
        with (tmp_path / "log.txt").open("a") as file:
            file.write(text)
        async with asyncio.timeout(20):
            await news.wait()
        news.clear()

    watch.close()
    descriptors = open_descriptors()
    FileWatch(tmp_path, "log.txt", news.set).close()
    assert open_descriptors() == descriptors


async def test_a_folder_that_is_not_there_or_is_a_link_is_not_watched(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    for name in ("nothing", "link"):
        with pytest.raises(OSError, match=name):
            FileWatch(tmp_path / name, "log.txt", lambda: None)


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))
