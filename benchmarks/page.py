"""Write measured figures into docs/performance.md, between its markers; everything else on the page is written by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from .figures import Figure, markdown_of
from .peers import ABOUT, MEASURED_ON, peer_markdown


def write_page(page: Path, machine: str, figures: Sequence[Figure]) -> None:
    """Replace the parts of the page that are measured."""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    parts = {
        "figures": f"One run of `python -m benchmarks` on {today}: {machine}.\n\n{markdown_of(figures)}",
        "peers": f"Others: {MEASURED_ON}. {ABOUT} Sundog, in bold: the run above, of {today}.\n\n{peer_markdown(figures)}",
    }
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = _replaced(text, name, part)
    page.write_text(text, encoding="utf-8")


def _replaced(text: str, name: str, part: str) -> str:
    begin, end = f"<!-- {name}: written by `python -m benchmarks --page` -->", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no {begin} … {end}")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"
