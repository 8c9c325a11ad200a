"""How a folder travels over a link: the manifest first, then each file by its hash; asked for by the receiver."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from ...transports.link.link import Link
from ..workspace.manifest import Manifest, write_tree


def offer_folder(link: Link, manifest: Manifest, root: Path) -> None:
    """Let the peer get the files of a folder."""
    for entry in manifest.files:
        link.transfers.offer(entry.sha256, root / entry.path, entry.size_bytes)


def withdraw_folder(link: Link, manifest: Manifest) -> None:
    """Answer no more Gets for them."""
    for entry in manifest.files:
        link.transfers.withdraw(entry.sha256)


async def fetch_folder(link: Link, manifest: Manifest, destination: Path, *, progress: Callable[[int], None] = lambda _: None) -> None:
    """Get the files of a manifest and lay the folder out, whole or not at all; goes on after a lost connection.

    Args:
        destination: must not exist yet; what came so far lies beside it until the end.
        progress: is told how many bytes are here.

    Raises:
        LinkError, RemoteError: a file could not be had.
        ManifestRefused: `destination` exists.
    """
    staging = destination.with_name(f".{destination.name}.incoming")
    staging.mkdir(parents=True, exist_ok=True)
    sizes = {entry.sha256: entry.size_bytes for entry in manifest.files}
    done = 0

    async def fetch(sha256: str, size_bytes: int) -> None:
        nonlocal done
        await link.transfers.fetch(sha256, size_bytes, staging / sha256)
        done += size_bytes
        progress(done)

    async with asyncio.TaskGroup() as group:
        for sha256, size_bytes in sizes.items():
            group.create_task(fetch(sha256, size_bytes))
    await asyncio.to_thread(write_tree, manifest, destination, lambda sha256: staging / sha256)
    await asyncio.to_thread(shutil.rmtree, staging)
