"""What we aim at: at most so much. Absolute figures hold for two cores of the machine in peers.py; elsewhere read the ratios."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """The most that is allowed, and the most that is aimed at, in the unit of the figure."""

    must: float
    goal: float
    goal_is_ratio: bool = False
    """Whether the goal is a multiple of the limit."""

    def __str__(self) -> str:
        return f"≤ {self.must:g}; goal ≤ {self.goal:g}{' ×' if self.goal_is_ratio else ''}"


TARGETS = {
    "W1 simulator": Target(3, 0.7),
    "W1 processes": Target(10, 3),
    "W2 100 MB, simulator": Target(0.6, 0.2),
    "W2 100 MB, processes": Target(0.8, 0.4),
    "W2 1 GB, processes": Target(9, 4),
    "W2 1 GB, memory of the server": Target(0.3, 0.1),
    "W2 1 GB, memory of a site": Target(2, 1),
    "W3 10 sites": Target(2, 1),
    "W3 100 sites": Target(3, 1.2),
    "W3 1000 sites": Target(10, 2.5),
    "W3 1000 sites, memory": Target(400, 200),
    "W4 simulator, first task": Target(1, 0.5),
    "W4 processes, start": Target(4, 2),
    "W4 processes, first task": Target(1.5, 0.5),
    "W4 processes, end": Target(1, 0.3),
    "W5 simulator": Target(8, 1.05, goal_is_ratio=True),
}
