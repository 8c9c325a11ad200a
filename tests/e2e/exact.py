"""A job that has one of everything that must be repeated exactly after a death (PROTOCOL §2)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from .jobs import JobFolder, custom, executor

SIZE = 20_001
"""Items of a model: more than a message takes; and odd, so that numpy's global generator keeps half a pair of normals."""
SERVER_CODE = f"""
import os
import random
import signal
import numpy as np
from sundog import Filter, ModelUpdate, Shareable, Task, Workflow, observe
from sundog.components.persistors.numpy_file import NPModelPersistor
from sundog.kernel.context import current_context

SIZE = {SIZE}

def dice():
    return np.float32(random.gauss() + np.random.normal())

class Zeros(NPModelPersistor):
    def load(self):
        return Shareable("WEIGHTS", {{"w": np.random.normal(size=SIZE).astype("float32"), "untouched": np.ones(1)}})

class Momentum(ModelUpdate):
    "Stateful, and nested without an id; draws from the global generators between two scatters of a step, and behind them."
    def __init__(self):
        self.velocity = np.zeros(SIZE, "float32")

    def apply(self, model, aggregate):
        step = aggregate.tensors["w"] - model.tensors["w"]
        self.velocity = (0.5 * self.velocity + step + dice() + np.random.normal(size=SIZE)).astype("float32")
        return model.replace(tensors={{"w": model.tensors["w"] + self.velocity, "untouched": model.tensors["untouched"]}})

    def state(self):
        return Shareable("WEIGHTS", {{"velocity": self.velocity}})

    def restore(self, state):
        self.velocity = state.tensors["velocity"]

class Dice(Filter):
    "Stateless, and draws: for data as they leave, for results in the order in which they arrive."
    def process(self, shareable, ctx):
        noise = dice() + np.float32(ctx.rng.normal())
        return shareable.replace(tensors={{**shareable.tensors, "w": shareable.tensors["w"] + noise}})

class Counting(Filter):
    "Stateful: what it adds depends on how many results it had before; it draws, too."
    def __init__(self):
        self.count = 0

    def process(self, shareable, ctx):
        self.count += 1
        return shareable.replace(tensors={{**shareable.tensors, "w": shareable.tensors["w"] + np.float32(self.count) * dice()}})

    def state(self):
        return Shareable("METRICS", meta={{"count": self.count}})

    def restore(self, state):
        self.count = state.meta["count"]

class Twice(Workflow):
    "Two scatters a step, the second with what the first one made of the model; stateful; draws before, between and behind."
    def __init__(self, aggregator, update: ModelUpdate, steps: int):
        self.aggregator, self.update, self.steps, self.drawn = aggregator, update, steps, 0.0

    def tasks(self):
        return ("train", "refine")

    def run(self, run):
        model = run.state or Shareable("WEIGHTS", {{"w": np.zeros(SIZE, "float32"), "untouched": np.ones(1)}})
        for _ in run.steps(self.steps):
            for name in self.tasks():
                results = run.scatter(Task(name, model, {{"lr": float(dice())}}))
                model = self.update.apply(model, self.aggregator.aggregate(results))
            self.drawn += float(dice() + run.rng.normal())
            run.commit(model, {{"drawn": self.drawn}})
            dice()
        path = run.context.folder / "models" / "last.txt"
        path.write_text(f"{{float(dice())}} {{run.rng.normal()}} {{self.drawn}}")

    def state(self):
        return Shareable("METRICS", meta={{"drawn": self.drawn}})

    def restore(self, state):
        self.drawn = state.meta["drawn"]

class Diary:
    "An observer with a state and a file."
    def __init__(self):
        self.lines = []

    @observe
    def before_commit(self, workflow, step):
        self.lines.append(f"{{workflow}} {{step}} {{float(dice())}}")
        path = current_context().folder / "diary.txt"
        path.write_text("\\n".join(self.lines))
        current_context().keep(path)
        current_context().note(f"the diary has an entry of {{workflow}}")

    def state(self):
        return Shareable("METRICS", meta={{"lines": self.lines}}) if self.lines else None

    def restore(self, state):
        self.lines = state.meta["lines"]

class Deadly:
    "Kills its process at one of the commits, when all others have saved what belongs to it; once."
    def __init__(self, at: int):
        self.at = at

    @observe
    def before_commit(self):
        self.at -= 1
        mark = current_context().folder / "died"
        if self.at == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""
SITE_CODE = f"""
import random
import numpy as np
from sundog import Executor, Shareable

SIZE = {SIZE}

def work(task, ctx):
    "The answer, and the arrays of the state: what it makes depends on model, state and dice, and goes on from a checkpoint."
    ctx.metrics.add_scalar(task.name, float(task.step))
    if task.name == "validate":
        return Shareable("METRICS", meta={{"metrics": {{"mean": float(np.mean(task.model.tensors["w"]))}}, "num_examples": 1}}), None
    if task.name == "submit_model":
        return Shareable("WEIGHTS", {{"w": ctx.state.tensors["m"]}}, {{"num_examples": 1}}), None
    noise = [np.random.normal(size=SIZE) + random.random() + ctx.rng.normal() for _ in range(2)]
    momentum, first = np.zeros(SIZE, "float32"), 0
    if ctx.state is not None:
        momentum, first = ctx.state.tensors["m"], ctx.state.meta.get("epoch", 0)
    for epoch in range(first, 2):
        momentum = (0.5 * momentum + noise[epoch]).astype("float32")
        ctx.checkpoint(Shareable("WEIGHTS", {{"m": momentum}}, {{"epoch": epoch + 1}}))
    meta = {{"num_examples": int(ctx.site[-1]), "metrics": {{"score": float(np.mean(task.model.tensors["w"]))}}}}
    return Shareable("WEIGHTS", {{"w": task.model.tensors["w"] + momentum}}, meta), {{"m": momentum}}

class Trainer(Executor):
    left = None

    def execute(self, task, ctx):
        if self.left is not None:
            self.left["m"] += 1000  # what it kept is its own again: the state is what was packed
        result, self.left = work(task, ctx)
        if self.left is not None and task.name == "train":  # "refine" leaves the state as it was, in spite of its checkpoints
            ctx.state = self.left
        return result
"""
SCRIPT = """
import sundog
from code_e2e import work

with sundog.site() as site:
    for task in site.tasks():
        result, state = work(task, site.context)
        if state is not None and task.name == "train":
            site.state = state
        site.send(result)
        if state is not None:
            state["m"] += 1000
"""


COMMITS = 7


def exact_job(root: Path, die_at: int = 0) -> Path:
    """Trains at site-1 by an executor and at site-2 by a script; evaluates; trains with two scatters a step; evaluates again.

    Args:
        die_at: the commit (from 1) just before which the server's job process kills itself; 0: none.
    """
    workflows: list[Any] = [
        {"id": "first", "name": "ScatterAndGather", "args": {"num_rounds": 3, "aggregator_id": "aggregator", "persistor_id": "persistor"}},
        {"id": "matrix", "name": "CrossSiteModelEval", "args": {"model_locator": {"name": "NPModelLocator"}}},
        {"id": "twice", **custom("Twice", aggregator={"ref": "aggregator"}, update=custom("Momentum"), steps=2)},
        {"id": "again", "name": "CrossSiteModelEval", "args": {"participating_clients": ["site-2"]}},
    ]
    workflows[0]["args"]["update"] = custom("Momentum")
    job = JobFolder(root, workflows, [executor(custom("Trainer"), "*")], code=SERVER_CODE)
    job.meta = {"name": "exact", "seed": 5, "deploy_map": {"server": ["server"], "executor": ["site-1"], "script": ["site-2"]}}
    job.server["components"] = [
        {"id": "deadly", **custom("Deadly", at=die_at)},  # the first one is called last
        {"id": "aggregator", "name": "WeightedMean"},
        {"id": "persistor", **custom("Zeros")},
        {"id": "selector", "name": "IntimeModelSelector", "args": {"better": "lower"}},
        {"id": "rows", "name": "ValidationJsonGenerator", "args": {"json_file_name": "rows.json"}},
        {"id": "diary", **custom("Diary")},
    ]
    train = ["train", "refine"]
    job.server["task_data_filters"] = [{"tasks": train, "filters": [custom("Dice")]}]
    job.server["task_result_filters"] = [
        {"tasks": ["train"], "filters": [custom("Dice"), custom("Counting")]},
        {"tasks": ["refine"], "filters": [custom("Dice")]},
    ]
    root.mkdir(parents=True)
    job.write_app("server", job.server, None, SERVER_CODE)
    job.write_app("executor", None, job.client, SITE_CODE)
    job.write_app("script", None, {"executors": [executor({"name": "ScriptExecutor", "args": {"script": "train.py"}}, "*")]}, SITE_CODE)
    (root / "script" / "custom" / "train.py").write_text(SCRIPT)
    return job.write_meta()


def left_in(run_folder: Path) -> dict[str, str]:
    """What components left in a run's folder: path → hash."""
    found = [path for name in ("models", "cross_site_val") for path in (run_folder / name).rglob("*")] + [run_folder / "diary.txt"]
    return {str(path.relative_to(run_folder)): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in sorted(found)}
