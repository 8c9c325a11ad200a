"""Which job has nothing to do but rounds? One whose sites add a number to every weight and give the model back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sundog.kernel.tensors import INLINE_LIMIT_BYTES

_CODE = '''"""A model of zeros, and sites that add their number to it: equal results would be sent only once."""

import numpy as np

from sundog import Context, Executor, Kind, Shareable, Task
from sundog.components.persistors.numpy_file import NPModelPersistor


class Zeros(NPModelPersistor):
    def __init__(self, tensors: int, items: int) -> None:
        super().__init__()
        self.tensors, self.items = tensors, items

    def load(self) -> Shareable:
        zeros = {f"layer_{number}": np.zeros(self.items, np.float32) for number in range(self.tensors)}
        return Shareable(Kind.WEIGHTS, zeros)

    def save(self, model: Shareable, name: str = "") -> None:
        """Not kept: the last commit has it."""


class AddOne(Executor):
    def execute(self, task: Task, ctx: Context) -> Shareable:
        number = int(ctx.site.removeprefix("site-"))
        weights = dict(task.model.tensors)
        for array in weights.values():
            array += number
        return Shareable(Kind.WEIGHTS, weights, {"num_examples": 1})
'''


@dataclass(frozen=True)
class Size:
    """A model: so many float32 tensors of so many items each."""

    name: str
    tensors: int
    items: int

    @property
    def size_bytes(self) -> int:
        return self.tensors * self.items * 4

    @property
    def is_inline(self) -> bool:
        """Whether it travels within the messages."""
        return self.size_bytes <= INLINE_LIMIT_BYTES


SMALL = Size("1,000 parameters", 1, 1000)
LARGE = Size("100 MB", 10, 2_500_000)


def write_noop_job(folder: Path, size: Size, rounds: int, sites: int) -> Path:
    """Write the job's folder, with the built-in workflow, aggregator and update."""
    components = [
        {"id": "persistor", "path": "noop.Zeros", "args": {"tensors": size.tensors, "items": size.items}},
        {"id": "update", "name": "FullModelUpdate"},
        {"id": "aggregator", "name": "WeightedMean"},
    ]
    references = {"aggregator_id": "aggregator", "persistor_id": "persistor", "update_id": "update"}
    workflow = {"id": "rounds", "name": "ScatterAndGather", "args": {"num_rounds": rounds, **references}}
    executor = {"tasks": ["train"], "executor": {"path": "noop.AddOne"}}
    documents = {
        "meta.json": {"name": "noop", "min_clients": sites, "deploy_map": {"app": ["@ALL"]}, "resource_spec": {}},
        "app/config/config_fed_server.json": {"format_version": 2, "workflows": [workflow], "components": components},
        "app/config/config_fed_client.json": {"format_version": 2, "executors": [executor], "components": []},
    }
    for name, document in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
    (folder / "app" / "custom").mkdir(exist_ok=True)
    (folder / "app" / "custom" / "noop.py").write_text(_CODE, encoding="utf-8")
    return folder
