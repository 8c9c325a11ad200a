"""A job that measures the runtime alone: its sites add a number to every weight and give the model back."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).parent / "jobs" / "noop" / "custom"


@dataclass(frozen=True)
class Size:
    """A model of equal float32 tensors."""

    name: str
    tensors: int
    items: int
    """Per tensor."""

    @property
    def size_bytes(self) -> int:
        return self.tensors * self.items * 4


SMALL = Size("1,000 parameters", 1, 1000)
MEDIUM = Size("10,000 parameters", 1, 10_000)
LARGE = Size("100 MB", 10, 2_500_000)
HUGE = Size("1 GB", 10, 25_000_000)


def write_noop_job(folder: Path, size: Size, *, rounds: int, sites: int) -> Path:
    """Write the job's folder, with the built-in workflow, aggregator and update; it notes its times beside the folder."""
    notes = _notes(folder)
    notes.mkdir(parents=True)
    components = [
        {"id": "persistor", "path": "noop.Zeros", "args": {"tensors": size.tensors, "items": size.items}},
        {"id": "update", "name": "FullModelUpdate"},
        {"id": "aggregator", "name": "WeightedMean"},
        {"id": "clock", "path": "noop.Clock", "args": {"path": str(notes / "rounds.json")}},
    ]
    references = {"aggregator_id": "aggregator", "persistor_id": "persistor", "update_id": "update"}
    workflow = {"id": "rounds", "name": "ScatterAndGather", "args": {"num_rounds": rounds, **references}}
    executor = {"tasks": ["train"], "executor": {"path": "noop.AddNumber", "args": {"path": str(notes / "first_task.json")}}}
    documents = {
        "meta.json": {"name": "noop", "min_clients": sites, "deploy_map": {"app": ["@ALL"]}, "resource_spec": {}},
        "app/config/config_fed_server.json": {"format_version": 2, "workflows": [workflow], "components": components},
        "app/config/config_fed_client.json": {"format_version": 2, "executors": [executor], "components": []},
    }
    for name, document in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
    shutil.copytree(CODE, folder / "app" / "custom", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@dataclass(frozen=True)
class Times:
    """What one run of the job noted, in seconds of the monotonic clock."""

    first_task: float
    """When the first site was given its first task."""
    rounds: list[float]
    """When each round ended."""

    @property
    def per_round(self) -> list[float]:
        """Seconds from the end of a round to the end of the next: all that a round costs, without the first one."""
        return [after - before for before, after in zip(self.rounds, self.rounds[1:], strict=False)]


def take_times(job: Path) -> Times:
    """What the last run of a job noted. Its notes are removed: the job can be run again."""
    first, rounds = (_take(_notes(job) / name) for name in ("first_task.json", "rounds.json"))
    return Times(first[0], rounds)


def _take(path: Path) -> list[float]:
    times: list[float] = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return times


def _notes(job: Path) -> Path:
    return job.with_name(f"{job.name}-notes")
