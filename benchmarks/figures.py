"""One figure: ours beside the limit of this machine, their ratio, the target and whether it is met."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from rich.table import Table

from .program import NotMeasured
from .targets import TARGETS, Target

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Figure:
    """One row. The median of the values is what counts."""

    key: str
    """What is measured, as targets and peers name it; its first word is the workload."""
    what: str
    """The same for people; `title` adds the transport."""
    unit: str
    values: Sequence[float] = ()
    limit: float | None = None
    """What the same costs without a framework, in the same unit."""
    transport: str = ""
    """Where a row is measured over several."""
    problem: str = ""
    """Why there are no values."""

    @property
    def workload(self) -> str:
        return self.key.split()[0]

    @property
    def title(self) -> str:
        return f"{self.what}, {self.transport}" if self.transport else self.what

    @property
    def ours(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def ratio(self) -> float | None:
        """How many times the limit."""
        return self.ours / self.limit if self.ours is not None and self.limit else None

    @property
    def target(self) -> Target | None:
        return TARGETS.get(self.key)

    @property
    def met(self) -> str:
        """goal, yes (the target, not the goal) or NO; nothing without a target."""
        if self.target is None:
            return ""
        if self.ours is None or self.ours > self.target.must:
            return "NO"
        compared = self.ratio if self.target.goal_is_ratio else self.ours
        return "goal" if compared is not None and compared <= self.target.goal else "yes"

    def document(self) -> dict[str, Any]:
        """As --json prints it."""
        spread = {"min": min(self.values), "max": max(self.values)} if self.values else {}
        target = asdict(self.target) if self.target else None
        return {
            "key": self.key, "what": self.title, "unit": self.unit, "ours": self.ours, **spread, "count": len(self.values),
            "limit": self.limit, "ratio": self.ratio, "target": target, "met": self.met, "problem": self.problem,
        }  # fmt: skip

    def cells(self) -> list[str]:
        """As a row of a table: see HEADINGS."""
        ours = self.problem if self.ours is None else f"{number(self.ours)} {self.unit}".strip()
        if len(self.values) > 1:
            ours += f" ({number(min(self.values))}…{number(max(self.values))})"
        limit = number(self.limit) if self.limit is not None else ""
        ratio = f"{number(self.ratio)} ×" if self.ratio is not None else ""
        return [self.workload, self.title, ours, limit, ratio, str(self.target or ""), self.met]


HEADINGS = ("", "what", "ours (min…max)", "limit", "ratio", "target", "met")


@dataclass(frozen=True)
class Row(Generic[Measured]):
    """A figure that is still to be measured.

    Args:
        pick: its values, from what was measured.
        limit: its limit, likewise.
    """

    key: str
    what: str
    unit: str
    pick: Callable[[Measured], Sequence[float]]
    limit: Callable[[Measured], float | None] = lambda _: None
    transport: str = ""


def figures_of(measure: Callable[[], Measured], rows: Sequence[Row[Measured]]) -> Iterator[Figure]:
    """Measure once; a figure per row. What cannot be measured is a row, too, and says why."""
    try:
        measured = measure()
    except NotMeasured as exc:
        reason = str(exc).splitlines()[0]
        yield from (Figure(row.key, row.what, row.unit, transport=row.transport, problem=reason) for row in rows)
    else:
        yield from (Figure(row.key, row.what, row.unit, row.pick(measured), row.limit(measured), row.transport) for row in rows)


def table_of(figures: Sequence[Figure]) -> Table:
    """The table that a terminal shows."""
    table = Table(*HEADINGS)
    for figure in figures:
        table.add_row(*figure.cells())
    return table


def markdown_of(figures: Sequence[Figure]) -> str:
    """The same for docs/performance.md."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(figure.cells() for figure in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def number(value: float) -> str:
    """At least three significant digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
