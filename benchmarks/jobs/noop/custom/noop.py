"""Code of a job that measures the runtime alone: it adds numbers to a model of zeros and notes the time.

Times are of the system's monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from sundog import Context, Executor, Kind, Persistor, Shareable, Task, observe


class Zeros(Persistor):
    """Starts from zeros.

    Args:
        tensors: number of tensors.
        items: float32 in each.
    """

    def __init__(self, tensors: int, items: int) -> None:
        self.tensors, self.items = tensors, items

    def load(self) -> Shareable:
        return Shareable(Kind.WEIGHTS, {f"layer_{number}": np.zeros(self.items, np.float32) for number in range(self.tensors)})

    def save(self, model: Shareable, name: str = "") -> None:
        """Not in another format: the last commit keeps it."""


class Clock:
    """Notes when each round ended.

    Args:
        path: the file, written at the end of the run.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.rounds: list[float] = []

    @observe
    def step_ended(self) -> None:
        self.rounds.append(time.monotonic())

    @observe
    def run_ended(self) -> None:
        self.path.write_text(json.dumps(self.rounds), encoding="utf-8")


class AddNumber(Executor):
    """Adds the site's number: equal results of two sites would be sent only once.

    Args:
        path: the first site to get a task notes the time in this file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.has_begun = False

    def execute(self, task: Task, ctx: Context) -> Shareable:
        if not self.has_begun:
            self.has_begun = True
            with suppress(FileExistsError), self.path.open("x", encoding="utf-8") as file:
                file.write(json.dumps([time.monotonic()]))
        number = int(ctx.site.removeprefix("site-"))
        weights = dict(task.model.tensors)
        for array in weights.values():
            np.add(array, number, out=array)
        return Shareable(Kind.WEIGHTS, weights, {"num_examples": 1})
