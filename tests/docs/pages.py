"""What is in a page of the documentation? Blocks, tables, links, and the commands it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WALKS = ("README.md", "docs/quickstart.md", "docs/transports.md")
"""Pages whose ```sh blocks are run, in order. What cannot be run there stands in a ```console block."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_TABLE = re.compile(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file, by its path from the root of the repository."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """All but the blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        return [body for kind, body in _FENCE.findall(self.text) if kind == language]

    def links(self) -> list[str]:
        """Those into this repository."""
        return [link for link in _LINK.findall(_CODE.sub("", self.prose)) if "://" not in link and not link.startswith("mailto:")]

    def anchors(self) -> set[str]:
        """What may stand behind a `#`: the headings, as they are called on the web."""
        headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(self.prose))
        return {heading.replace(" ", "-") for heading in headings}

    def tables(self, heading: str) -> list[list[list[str]]]:
        """The tables right under a heading, each as rows of cells, without its head."""
        section = re.split(rf"^#+ {re.escape(heading)}$", self.text, maxsplit=1, flags=re.MULTILINE)[1]
        bodies = _TABLE.findall(re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0])
        return [[[cell.strip() for cell in line[2:-2].split(" | ")] for line in body.splitlines()] for body in bodies]

    def commands(self) -> Iterator[str]:
        """Each `sundog …` and `poc …` that it names as something to type, without what follows it in the line."""
        spans = _CODE.findall(self.prose)
        lines = [line.removeprefix("$ ") for kind in ("sh", "console") for block in self.blocks(kind) for line in block.splitlines()]
        for text in [*spans, *lines]:
            for found in re.findall(r"(?:^|\$\(|\| )((?:sundog|poc) [^|#>)]+)", text):
                yield found.strip()


PAGES = [
    Page(str(path.relative_to(ROOT)))
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*/*.md"))]
]
