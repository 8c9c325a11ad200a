"""What a workflow does behind its last commit, and what it hands over to the next one, when a job process dies."""

from __future__ import annotations

import signal
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sundog.kits.site import run_events as sev
from sundog.kits.site.run_program import SiteRunProgram

from .jobs import JobFolder, custom, executor
from .test_fault_campaign import strike
from .test_processes import COMPLETED, Federation

SITES = ("site-1", "site-2")
CODE = """
import os
import signal

import numpy as np

from sundog import Executor, Shareable, Task, Workflow

SIZE = 20_000
ZERO = Shareable("WEIGHTS", {"w": np.zeros(SIZE)})


class Trainer(Executor):
    def execute(self, task, ctx):
        with (ctx.folder / "executed.txt").open("a") as file:
            file.write(f"{task.workflow} {task.step} {task.name}\\n")
        return Shareable("WEIGHTS", {"w": task.model.tensors["w"] + int(ctx.site[-1])}, {"num_examples": 1})


def mean(results):
    return Shareable("WEIGHTS", {"w": np.mean([result.shareable.tensors["w"] for result in results], axis=0)})


class Early(Workflow):
    "Says with the commit that it is the last one."
    def tasks(self):
        return ("train",)

    def run(self, run):
        model = run.state or ZERO
        for step in run.steps(10):
            model = mean(run.scatter(Task("train", model)))
            run.commit(model, last=bool(model.tensors["w"][0] >= 3))
        die_once(run, DIE == "behind the last commit")


class Tail(Workflow):
    "Evaluates its last model behind the last commit."
    def tasks(self):
        return ("train", "final")

    def run(self, run):
        model = run.state or ZERO
        for step in run.steps(2):
            model = mean(run.scatter(Task("train", model)))
            run.commit(model)
        final = list(run.scatter(Task("final", model)))
        die_once(run, DIE == "behind the last commit")
        (run.context.folder / "models" / "final.txt").write_text(str([float(one.shareable.tensors["w"][0]) for one in final]))


class Bare(Workflow):
    "Commits without asking for steps."
    def tasks(self):
        return ("train",)

    def run(self, run):
        run.commit(mean(run.scatter(Task("train", run.state or ZERO))))


class Memo:
    "Has a state that becomes none."
    def __init__(self):
        self.value = 0.0

    def state(self):
        return Shareable("METRICS", meta={"value": self.value}) if self.value else None

    def restore(self, state):
        self.value = state.meta["value"]


class Remember(Workflow):
    def __init__(self, memo: Memo):
        self.memo = memo

    def tasks(self):
        return ("train",)

    def run(self, run):
        self.memo.value = 5.0
        run.commit(ZERO)


class Second(Workflow):
    def __init__(self, memo: Memo):
        self.memo = memo

    def tasks(self):
        return ("second",)

    def run(self, run):
        model = run.state or ZERO
        for step in run.steps(3):
            if step == 0:
                self.memo.value = 0.0
            model = mean(run.scatter(Task("second", model)))
            die_once(run, DIE == "in the next workflow" and step == 2)
            run.commit(model.replace(tensors={"w": model.tensors["w"] + self.memo.value}))


def die_once(run, is_time):
    mark = run.context.folder / "died"
    if is_time and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True)
class Outcome:
    status: str
    model_sha256: str
    rounds: list[tuple[str, int, list[str]]]
    executed: dict[str, list[str]]
    final: str


async def outcome(root: Path, kind: str, die: str = "") -> Outcome:
    needs_memo: dict[str, Any] = {"memo": {"ref": "memo"}}
    workflows = [
        {"id": "one", **custom(kind, **(needs_memo if kind == "Remember" else {}))},
        {"id": "two", **custom("Second", **needs_memo)},
    ]
    made = JobFolder(root / "job", workflows, [executor(custom("Trainer"), "*")], code=f"DIE = {die!r}\n{CODE}")
    made.server["components"] = [{"id": "memo", **custom("Memo")}]
    async with AsyncExitStack() as stack:
        federation = Federation(root, stack)
        await federation.start(*SITES)
        job_id = await federation.submit(made)
        report = await federation.end(job_id)
    executed = {site: (root / site / "runs" / job_id / "executed.txt").read_text().splitlines() for site in SITES}
    final = root / "server" / "runs" / job_id / "models" / "final.txt"
    rounds = [(one.workflow, one.round, list(one.used)) for one in report.rounds]
    assert bool(die) == (root / "server" / "runs" / job_id / "died").exists()
    return Outcome(report.status, report.model_sha256, rounds, executed, final.read_text() if final.exists() else "")


@pytest.mark.parametrize(
    ("kind", "die"),
    [
        ("Early", "behind the last commit"),
        ("Early", "in the next workflow"),
        ("Tail", "behind the last commit"),
        ("Tail", "in the next workflow"),
        ("Bare", "in the next workflow"),
        ("Remember", "in the next workflow"),
    ],
)
async def test_a_workflow_that_has_ended_stays_as_it_was(kind: str, die: str, tmp_path: Path) -> None:
    """No step more, nothing trained twice, no result lost, no state of a component that is no more."""
    undisturbed = await outcome(tmp_path / "undisturbed", kind)

    assert undisturbed.status == COMPLETED
    assert await outcome(tmp_path / "killed", kind, die) == undisturbed


@pytest.mark.parametrize("busy", [False, True], ids=["idle writer", "busy writer"])
async def test_a_result_that_was_handed_over_before_its_process_died_is_kept(
    busy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer takes the file only when the death is known already; a new process begins with an empty out/."""
    feed, may_write = SiteRunProgram.feed, threading.Event()
    seen: list[sev.Event] = []
    made = JobFolder(tmp_path / "job", [{"id": "one", **custom("Bare")}], [executor(custom("Trainer"), "*")], code=f"DIE = ''\n{CODE}")
    made.server["components"] = []
    async with AsyncExitStack() as stack:
        federation = Federation(tmp_path, stack)
        await federation.start(*SITES)
        ended = SiteRunProgram._job_ended

        def watched(program: SiteRunProgram, event: sev.Event) -> None:
            if isinstance(event, sev.JobAnswered) and not seen and program.folder.root.parts[-3] == "site-1":
                seen.append(event)
                if busy:
                    program._services.writer.post(lambda: may_write.wait(20))
                strike(federation, "site-1", signal.SIGKILL)
            feed(program, event)

        def heard(program: SiteRunProgram, how: str, last_words: str) -> None:
            ended(program, how, last_words)
            may_write.set()

        monkeypatch.setattr(SiteRunProgram, "feed", watched)
        monkeypatch.setattr(SiteRunProgram, "_job_ended", heard)
        job_id = await federation.submit(made)
        report = await federation.end(job_id)

    assert report.status == COMPLETED, report
    assert (tmp_path / "site-1" / "runs" / job_id / "executed.txt").read_text() == "one 0 train\n"
