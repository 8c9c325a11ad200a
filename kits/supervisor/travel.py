"""How a folder travels over a link: the manifest first, then each file by its hash; asked for by the receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

from ...transports.link.link import Link
from ..workspace.disk import Disk
from ..workspace.manifest import Manifest, write_tree


def offer_folder(link: Link, manifest: Manifest, root: Path) -> None:
    """Let the peer get the files of a folder."""
    for entry in manifest.files:
        link.transfers.offer(entry.sha256, root / entry.path, entry.size_bytes)


def withdraw_folder(link: Link, manifest: Manifest, root: Path) -> None:
    """Answer no more Gets for them."""
    for entry in manifest.files:
        link.transfers.withdraw(entry.sha256, root / entry.path)


class FolderOffers:
    """Folders that peers may get, each under a name; a file that several of them have is offered until the last is withdrawn."""

    def __init__(self) -> None:
        self._offered: WeakKeyDictionary[Link, dict[str, list[tuple[Manifest, Path]]]] = WeakKeyDictionary()

    def offer(self, link: Link, name: str, manifest: Manifest, root: Path) -> None:
        """Let a peer get the files of one more folder; several may have one name."""
        self._offered.setdefault(link, {}).setdefault(name, []).append((manifest, root))
        offer_folder(link, manifest, root)

    def withdraw(self, link: Link, name: str) -> None:
        """Offer the folders of this name no longer. Fine when there are none."""
        offered = self._offered.get(link, {})
        gone = offered.pop(name, [])
        still = {file for folders in offered.values() for folder in folders for file in _files(*folder)}
        for sha256, path in {file for folder in gone for file in _files(*folder)} - still:
            link.transfers.withdraw(sha256, path)


def _files(manifest: Manifest, root: Path) -> Iterator[tuple[str, Path]]:
    return ((entry.sha256, root / entry.path) for entry in manifest.files)


async def fetch_folder(link: Link, manifest: Manifest, destination: Path, *, progress: Callable[[int], None] = lambda _: None) -> None:
    """Get the files of a manifest and lay the folder out, whole or not at all; goes on after a lost connection.

    Args:
        destination: must not exist yet; what came so far lies beside it until the end, and is not asked for again.
        progress: is told how many bytes are here, on the event loop.

    Raises:
        LinkError, RemoteError: a file could not be had.
        ManifestRefused: `destination` exists.
    """
    staging = destination.with_name(f".{destination.name}.incoming")
    staging.mkdir(parents=True, exist_ok=True)
    here: dict[str, int] = {}
    total = 0

    def arrived(sha256: str, size_bytes: int) -> None:
        nonlocal total
        total += size_bytes - here.get(sha256, 0)
        here[sha256] = size_bytes
        progress(total)

    async def fetch(sha256: str, size_bytes: int) -> None:
        await link.transfers.fetch(sha256, size_bytes, staging / sha256, progress=partial(arrived, sha256))
        arrived(sha256, size_bytes)

    try:
        async with asyncio.TaskGroup() as group:
            for sha256, size_bytes in {entry.sha256: entry.size_bytes for entry in manifest.files}.items():
                group.create_task(fetch(sha256, size_bytes))
    except ExceptionGroup as errors:  # of files that failed side by side, one tells enough
        raise errors.exceptions[0] from None
    await asyncio.to_thread(write_tree, manifest, destination, lambda sha256: staging / sha256)
    await asyncio.to_thread(Disk().rmtree, staging)
