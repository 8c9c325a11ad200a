"""What does a job do that measures the runtime alone? It adds numbers to a model of zeros and looks at the clock.

Times are of the system's monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import time

import numpy as np

from sundog import Context, Executor, Kind, Shareable, Task, observe
from sundog.components.persistors.numpy_file import NPModelPersistor


class Zeros(NPModelPersistor):
    """Starts from zeros.

    Args:
        tensors: how many of them.
        items: float32 in each.
    """

    def __init__(self, tensors: int, items: int) -> None:
        super().__init__()
        self.tensors, self.items = tensors, items

    def load(self) -> Shareable:
        return Shareable(Kind.WEIGHTS, {f"layer_{number}": np.zeros(self.items, np.float32) for number in range(self.tensors)})

    def save(self, model: Shareable, name: str = "") -> None:
        """Not in another format: the last commit keeps it."""


class Clock:
    """Notes when each round ended, in clock.json in the run's folder."""

    def __init__(self) -> None:
        self.rounds: list[float] = []

    @observe
    def step_ended(self) -> None:
        self.rounds.append(time.monotonic())

    @observe
    def run_ended(self, ctx: Context) -> None:
        (ctx.folder / "clock.json").write_text(json.dumps(self.rounds))


class AddNumber(Executor):
    """Adds the site's number: equal results of two sites would be sent only once. Notes when its first task came."""

    def __init__(self) -> None:
        self.first_task: float | None = None

    def execute(self, task: Task, ctx: Context) -> Shareable:
        if self.first_task is None:
            self.first_task = time.monotonic()
            (ctx.folder / "clock.json").write_text(json.dumps([self.first_task]))
        number = int(ctx.site.removeprefix("site-"))
        weights = dict(task.model.tensors)
        for array in weights.values():
            np.add(array, number, out=array)
        return Shareable(Kind.WEIGHTS, weights, {"num_examples": 1})
