"""The example of docs/transports.md runs."""

from __future__ import annotations

import asyncio
from typing import Any

from .pages import Page


def test_the_example_of_a_security_runs() -> None:
    (block,) = (block for block in Page("docs/transports.md").blocks("python") if "(Security)" in block)
    names: dict[str, Any] = {}

    exec(block, names)

    asyncio.run(names["main"]())
