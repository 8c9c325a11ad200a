"""Tasks that outlive their step: a buffered asynchronous workflow, undisturbed and with job processes that die."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sundog
from sundog.kernel.blobs import Blob
from sundog.kernel.shareable import Shareable
from sundog.kits.protocol.answers import JobReport
from sundog.kits.protocol.records import AnyRecord, ResultReceived, ScatterEnded, StepClosed
from sundog.kits.server import run_events as ev
from sundog.kits.server.run_program import ServerRunProgram
from sundog.kits.workspace.journal import read_journal

from .jobs import JobFolder, custom, executor
from .test_fault_campaign import Faults, strike
from .test_processes import COMPLETED, Federation, Gate

SITES = ("site-1", "site-2", "site-3")
ROUNDS, BUFFER = 6, 2
SAMPLE = 3
FEDBUFF = '''
from sundog import Aggregator, Executor, Persistor, Shareable, Task, Workflow


class FedBuff(Workflow):
    """Buffered asynchronous aggregation: a site that has answered gets the newest model at once.

    Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022, algorithm 1.
    """

    def __init__(self, aggregator: Aggregator, persistor: Persistor, num_rounds: int, buffer: int):
        self.aggregator = aggregator
        self.persistor = persistor
        self.num_rounds = num_rounds
        self.buffer = buffer

    def tasks(self):
        return ("train",)

    def run(self, run):
        model = run.state or self.persistor.load()
        for step in run.steps(self.num_rounds):
            if step == 0:
                for site in run.sites:
                    run.send(Task("train", model), site)
            results = []
            while len(results) < self.buffer:
                results.append(run.next_result())
                run.send(Task("train", model), results[-1].site)
            model = self.aggregator.aggregate([Shareable("WEIGHTS", model.tensors), *results])
            run.commit(model)
'''
CODE = f"""{FEDBUFF}

import numpy as np

class Fold(Aggregator):
    "Depends on the order of what it folds."
    def aggregate(self, results):
        model, *answers = results
        value = model.tensors["w"]
        for answer in answers:
            value = 0.5 * value + answer.shareable.tensors["w"]
        return Shareable("WEIGHTS", {{"w": value}})


class Zero(Persistor):
    def load(self):
        return Shareable("WEIGHTS", {{"w": np.zeros(20_000)}})

    def save(self, model, name=""): ...


class Trainer(Executor):
    "What it makes depends on the model that the task was sent with."
    def execute(self, task, ctx):
        return Shareable("WEIGHTS", {{"w": int(ctx.site[-1]) + 0.25 * task.model.tensors["w"]}}, {{"num_examples": 1}})
"""


def job(root: Path) -> JobFolder:
    workflow = {"id": "fedbuff", **custom("FedBuff", aggregator_id="fold", persistor_id="zero", num_rounds=ROUNDS, buffer=BUFFER)}
    made = JobFolder(root, [workflow], [executor(custom("Trainer"), "train")], code=CODE)
    made.server["components"] = [{"id": "fold", **custom("Fold")}, {"id": "zero", **custom("Zero")}]
    return made


def expected(records: list[AnyRecord]) -> float:
    """The model that the results give in the order of the journal."""
    sent, model = dict.fromkeys(SITES, 0.0), 0.0
    sites = [record.site for record in records if isinstance(record, ResultReceived)][: ROUNDS * BUFFER]
    for start in range(0, len(sites), BUFFER):
        answers = []
        for site in sites[start : start + BUFFER]:
            answers.append(int(site[-1]) + 0.25 * sent[site])
            sent[site] = model
        for answer in answers:
            model = 0.5 * model + answer
    return model


def test_a_buffered_asynchronous_workflow_takes_forty_lines_and_no_step_waits_for_all_sites(tmp_path: Path) -> None:
    report = sundog.simulate(job(tmp_path / "job").write(), sites=3, workspace=tmp_path)

    assert report.status == COMPLETED
    assert len(FEDBUFF.strip().splitlines()) <= 40
    assert [len(one.used) for one in report.rounds] == [BUFFER] * ROUNDS
    assert all(one.open for one in report.rounds)


@pytest.mark.parametrize("seed", [pytest.param(n, marks=[] if n < SAMPLE else pytest.mark.campaign) for n in range(30)])
async def test_a_repeated_step_uses_the_same_results_in_the_same_order(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two deaths of job processes; the last model is the one that the journal's order gives."""
    dice = random.Random(seed)
    async with AsyncExitStack() as stack:
        federation = Federation(tmp_path, stack)
        await federation.start(*SITES)
        victims = [dice.choice(["server", "server", *SITES]) for _ in range(2)]
        Faults({dice.randint(4, 70): partial(strike, federation, who, signal.SIGKILL) for who in victims}).watch(monkeypatch)
        job_id = await federation.submit(job(tmp_path / "job"))
        report = await federation.end(job_id)
        (journal,) = federation.server.workspace.run_journals(job_id)

    assert report.status == COMPLETED, report
    records = read_journal(journal).records
    assert model_of(federation, report) == expected(records)
    verdicts = [verdict for record in records if isinstance(record, StepClosed) for verdict in record.verdicts]
    used = [task_id for task_id, verdict, _ in verdicts if verdict == "used"]
    assert len(used) == len(set(used)) == ROUNDS * BUFFER


def model_of(federation: Federation, report: JobReport) -> float:
    path = federation.root / "server" / "runs" / report.job_id / report.model_path
    values = Shareable.of_blob("WEIGHTS", Blob.open(path)).tensors["w"]
    assert np.all(values == values[0])
    return float(values[0])


def gated(submit: Gate, validate: Gate) -> str:
    return f"""
from sundog import Executor, Shareable
import numpy as np

class Trainer(Executor):
    def execute(self, task, ctx):
        if (ctx.site, task.name) == ("site-2", "submit_model"):
            {submit.code}
        if (ctx.site, task.name) == ("site-1", "validate"):
            {validate.code}
        if task.name == "submit_model":
            return Shareable("WEIGHTS", {{"w": np.full(2, float(ctx.site[-1]))}})
        return Shareable("METRICS", meta={{"metrics": {{"value": float(task.model.tensors["w"][0])}}, "num_examples": 1}})
"""


async def test_a_model_that_came_behind_its_scatter_is_in_no_other_models_place_after_a_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """site-2 gives its model when site-1's is being evaluated already; then the server's job process dies."""
    submit, validate = Gate(tmp_path / "submit"), Gate(tmp_path / "validate")
    policy = {"name": "SitesPolicy", "args": {"require": 1, "grace_seconds": 0}}
    matrix = {"id": "matrix", "name": "CrossSiteModelEval", "args": {"policy": policy}}
    made = JobFolder(tmp_path / "job", [matrix], [executor(custom("Trainer"), "*")], code=gated(submit, validate))
    made.server["components"] = []
    is_late, is_evaluating = asyncio.Event(), asyncio.Event()
    feed = ServerRunProgram.feed

    def watched(program: ServerRunProgram, event: ev.Event, *more: Any) -> None:
        feed(program, event, *more)
        if isinstance(event, ev.StepAsked) and event.tasks[0].name == "validate":
            is_evaluating.set()
        if isinstance(event, ev.ResultHere) and event.site == "site-2":
            is_late.set()

    monkeypatch.setattr(ServerRunProgram, "feed", watched)
    async with AsyncExitStack() as stack:
        federation = Federation(tmp_path, stack)
        await federation.start("site-1", "site-2")
        job_id = await federation.submit(made)
        async with asyncio.timeout(30):
            await is_evaluating.wait()
            await submit.open()
            await is_late.wait()
        strike(federation, "server", signal.SIGKILL)
        await validate.open()
        report = await federation.end(job_id)
        (journal,) = federation.server.workspace.run_journals(job_id)
        matrix_file = federation.root / "server" / "runs" / job_id / "cross_site_val" / "cross_val_results.json"
        found = matrix_file.read_text()

    assert report.status == "FINISHED:DEGRADED", report
    assert [len(record.end.results) for record in read_journal(journal).records if isinstance(record, ScatterEnded)] == [1]
    assert '"site-1": {\n   "value": 1.0' in found
    assert "2.0" not in found
