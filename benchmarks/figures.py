"""How is one figure told? Ours beside the limit of this machine, their ratio, and what we aim at."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Target:
    """At most so much, or at most so many times the limit."""

    most: float
    is_ratio: bool = False


@dataclass(frozen=True)
class Figure:
    """One row. `values`: each measurement; the median is what counts."""

    workload: str
    what: str
    unit: str
    values: Sequence[float]
    target: Target | None = None
    limit: float | None = None
    """What the same costs without a framework, in the same unit."""

    @property
    def ours(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """How many times the limit."""
        return self.ours / self.limit if self.limit else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None when there is none."""
        if self.target is None:
            return None
        compared = self.ratio if self.target.is_ratio else self.ours
        return compared is not None and compared <= self.target.most

    def document(self) -> dict[str, Any]:
        """As --json prints it."""
        values = {"ours": self.ours, "min": min(self.values), "max": max(self.values), "count": len(self.values)}
        target = asdict(self.target) if self.target else None
        return {
            "workload": self.workload, "what": self.what, "unit": self.unit, **values,
            "limit": self.limit, "ratio": self.ratio, "target": target, "met": self.is_met,
        }  # fmt: skip


def table_of(figures: Sequence[Figure]) -> Table:
    """The table that people read."""
    table = Table("", "what", "unit", "ours", "min…max", "limit", "ratio", "target", "met?")
    for figure in figures:
        spread = f"{_number(min(figure.values))}…{_number(max(figure.values))}" if len(figure.values) > 1 else ""
        ratio = f"{figure.ratio:.2f} ×" if figure.ratio is not None else ""
        met = {True: "yes", False: "NO", None: ""}[figure.is_met]
        limit = _number(figure.limit) if figure.limit is not None else ""
        table.add_row(figure.workload, figure.what, figure.unit, _number(figure.ours), spread, limit, ratio, _target(figure.target), met)
    return table


def _target(target: Target | None) -> str:
    if target is None:
        return ""
    return f"≤ {target.most:g}{' ×' if target.is_ratio else ''}"


def _number(value: float) -> str:
    """Three digits that count."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"
