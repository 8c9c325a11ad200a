"""Text of answers: lines and tables, and the words that several commands share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from ...kernel.wording import printable
from ..protocol.answers import Numbers, Problem


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under headings."""

    headings: list[str]
    rows: list[list[str]]


Piece = str | Table
"""A line, or a table."""


def trouble(problem: Problem) -> Iterator[str]:
    """An error: its code and what happened, the place, the next step."""
    yield printable(f"[{problem.code}] {problem.what}", keep="\n")
    if problem.place:
        yield f"  where: {printable(problem.place)}"
    if problem.cure:
        yield f"  cure:  {printable(problem.cure)}"


def moment(seconds: float) -> str:
    """A time for people, in the zone of this machine."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def listed(names: Iterable[str]) -> str:
    """Names with commas between them."""
    return printable(", ".join(names))


def numbers(named: Numbers) -> str:
    """Metrics with commas between them."""
    return listed(f"{name}={'nan' if value is None else format(value, '.6g')}" for name, value in named.items())


def with_reason(word: str, reason: str) -> str:
    """A word, and in brackets why."""
    return printable(f"{word} ({reason})" if reason else word)
