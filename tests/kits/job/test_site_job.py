"""A site's job process, without the process: what it answers to what it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sundog.kernel.context import Context, RunAborted
from sundog.kernel.messages import split_body
from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.tasks import Task
from sundog.kits.handover import messages as say
from sundog.kits.job.site_job import SiteJob
from sundog.kits.protocol.messages import Grew, TaskFor

from .desk import Desk, packed, start, write_app

TRAINER = """
import random
from sundog import Executor, Filter, Key, Kind, Shareable

ROUNDS = Key("rounds", int)

class Trainer(Executor):
    def __init__(self):
        self.trace = []
        self.act = None

    def start(self, ctx):
        self.trace.append("start")

    def execute(self, task, ctx):
        self.trace.append(f"{task.name} {task.workflow} {task.step} {task.site} {ctx.state.meta.get('round') if ctx.state else None}")
        if self.act is not None:
            self.act(task, ctx)
        ctx.state = Shareable("MODEL", {"s": task.model.tensors["w"]}, {"round": task.step})
        ctx.shared[ROUNDS] = task.shared.get("rounds", 0) + 1
        ctx.metrics.add_scalar("loss", 0.5, task.step)
        weights = {name: array + 1 for name, array in task.model.tensors.items()}
        return Shareable("WEIGHTS", weights, {"draw": random.random()})

    def stop(self, ctx):
        self.trace.append("stop")
        if self.act == "stop badly":
            raise ValueError("at the very end")

class Mark(Filter):
    def __init__(self, name: str):
        self.name = name

    def process(self, shareable, ctx):
        return shareable.replace(meta={**shareable.meta, "marks": [*shareable.meta.get("marks", []), f"{self.name} {ctx.site}"]})

class Broken(Executor):
    def __init__(self):
        raise ValueError("no data here")

    def execute(self, task, ctx): ...
"""
CONFIG: dict[str, Any] = {
    "executors": [{"tasks": ["train"], "executor": {"path": "trainer_h11.Trainer"}}],
    "task_data_filters": [{"tasks": ["train"], "filters": [{"path": "trainer_h11.Mark", "args": {"name": "in"}}]}],
    "task_result_filters": [{"tasks": ["train"], "filters": [{"path": "trainer_h11.Mark", "args": {"name": "out"}}]}],
}
SMALL = Shareable(Kind.WEIGHTS, {"w": np.zeros(2)})
LARGE = Shareable(Kind.WEIGHTS, {"w": np.zeros(20_000)})


class Played:
    """A site's job that is told things, and what it said."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None, *, may_drive: bool = False, custom: str = TRAINER) -> None:
        write_app(folder, "site", config or CONFIG, {"trainer_h11.py": custom, "train_h11.py": custom})
        self.folder = folder
        self.desk = Desk(folder)
        self.job = SiteJob(self.desk, self.desk.mailbox, may_drive=may_drive)

    def start(self) -> Played:
        self.job.on(say.Start("run"), start(self.folder, "site", "site-1"))
        return self

    @property
    def trainer(self) -> Any:
        return self.job._app.executors["train"]

    def task(self, step: int = 0, *, model: Shareable = SMALL, name: str = "train", state: Shareable | None = None, **shared: Any) -> Any:
        """Hand it a task; its answer."""
        self.job.on(*self.message(step, model, name, state, shared))
        return self.desk.last

    def message(self, step: int, model: Shareable, name: str, state: Shareable | None, shared: dict[str, Any]) -> tuple[TaskFor, bytes]:
        payload, body = packed(self.folder, model, shared)
        kept, more = packed(self.folder, state) if state is not None else (None, b"")
        return TaskFor("run", f"t{step}", name, "sag", step, "site-1", 100 + step, None, payload, kept), body + more

    def result(self) -> Shareable:
        return self.answer()[0]

    def answer(self) -> tuple[Shareable, dict[str, Any]]:
        message, body = self.desk.said[-1]
        assert isinstance(message, say.ResultFor)
        assert message.payload is not None, message.failure
        payloads = [payload for payload in (message.payload, message.state) if payload is not None]
        return self.desk.received(message.payload, *split_body(payloads, body)[0])

    def state(self) -> Shareable:
        """The state that the last answer left."""
        message, body = self.desk.said[-1]
        assert isinstance(message, say.ResultFor)
        assert message.payload is not None
        assert message.state is not None
        return self.desk.received(message.state, *split_body([message.payload, message.state], body)[1])[0]


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path).start()


def test_it_says_that_it_is_ready_and_does_a_task_through_its_filters(played: Played) -> None:
    assert played.desk.of(say.Ready) == [say.Ready()]

    answer = played.task(rounds=4)

    assert isinstance(answer, say.ResultFor)
    assert (answer.task_id, answer.site, answer.failure) == ("t0", "site-1", None)
    assert played.result().tensors["w"].tolist() == [1, 1]
    assert played.result().meta["marks"] == ["out site-1"]
    assert played.answer()[1] == {"rounds": 5}
    assert played.trainer.trace == ["start", "train sag 0 site-1 None"]


def test_a_task_begins_with_the_state_that_comes_with_it_and_with_no_other(played: Played) -> None:
    """What is left in memory may have been changed since it was packed; a process that restarted does not have it."""
    played.task(0)
    played.task(1, state=Shareable(Kind.MODEL, meta={"round": 77}))
    played.task(2)

    assert played.trainer.trace[1:] == [f"train sag {step} site-1 {state}" for step, state in ((0, None), (1, 77), (2, None))]


def test_the_state_goes_out_with_a_result_when_job_code_has_set_it(tmp_path: Path) -> None:
    """Also to what it was: a trainer that is given its last checkpoint may have nothing to add."""
    code = TRAINER.replace('ctx.state = Shareable("MODEL", {"s": task.model.tensors["w"]}, {"round": task.step})', "self.set(ctx)")
    played = Played(tmp_path, custom=code).start()
    given = Shareable(Kind.MODEL, {"s": np.ones(3)}, {"round": 5})

    def unchanged(ctx: Context) -> None:
        ctx.state = ctx.state

    def unset(ctx: Context) -> None: ...

    def nothing(ctx: Context) -> None:
        ctx.state = None

    def a_dict(ctx: Context) -> None:
        ctx.state = {"s": np.zeros(1)}

    sent = []
    for step, played.trainer.set in enumerate((unchanged, unset, nothing, a_dict)):
        sent.append(played.task(step, state=given).state)

    assert [state is not None for state in sent] == [True, False, False, True]
    assert sent[0].sha256 == given.blob().sha256
    assert played.state() == Shareable(Kind.WEIGHTS, {"s": np.zeros(1)})


def test_a_state_that_is_none_is_refused_at_its_own_line(played: Played) -> None:
    def a_list(_: Task, ctx: Context) -> None:
        ctx.state = [1.0]  # type: ignore[assignment]

    def no_array(_: Task, ctx: Context) -> None:
        ctx.checkpoint({"epoch": "three"})

    failures = []
    for step, played.trainer.act in enumerate((a_list, no_array)):
        failures.append(played.task(step).failure)

    assert [failure.code for failure in failures] == ["SD-3170", "SD-3170"]
    assert failures[0].what == "ctx.state: wanted a Shareable or a dict, name → array, got a list"
    assert failures[1].what.startswith("ctx.checkpoint: tensor 'epoch': wanted one of F64")
    lines = [act.__code__.co_firstlineno + 1 for act in (a_list, no_array)]
    assert [failure.where.rpartition("/")[2] for failure in failures] == [f"{Path(__file__).name}:{line}" for line in lines]


def test_large_models_and_states_are_files_of_their_own(played: Played) -> None:
    answer = played.task(model=LARGE, state=LARGE)

    names = [answer.payload.name, answer.state.name]
    assert len(set(names)) == 2
    assert all((played.folder / "out" / name).is_file() for name in names)
    assert played.result().tensors["w"][0] == 1


def test_a_task_draws_from_its_own_seed_whatever_was_drawn_before(played: Played) -> None:
    draws = []
    for step in (0, 1, 0):
        played.task(step)
        draws.append(played.result().meta["draw"])

    assert draws[0] == draws[2] != draws[1]


def test_an_exception_is_the_tasks_failure_with_the_line_of_the_users_file_and_the_next_task_is_done(played: Played) -> None:
    played.trainer.act = "no function"

    answer = played.task(0)

    assert answer.failure.code == "SD-4090"
    assert answer.failure.what == "TypeError: 'str' object is not callable"
    assert (answer.failure.site, answer.failure.where) == ("site-1", "custom/trainer_h11.py:18")
    played.trainer.act = None
    assert played.task(1).failure is None


def test_a_task_without_an_executor_fails(played: Played) -> None:
    answer = played.task(name="validate")

    assert answer.failure.code == "SD-4104"
    assert "'validate'; there is train" in answer.failure.what


def test_what_is_no_model_fails_its_task_only(played: Played) -> None:
    message, body = played.message(0, SMALL, "train", None, {})
    played.job.on(message, b"\xff" * len(body))

    assert played.desk.last.failure.code.startswith("SD-12")
    assert played.task(1).failure is None


def test_a_constructor_that_raises_is_told_instead_of_ready(tmp_path: Path) -> None:
    played = Played(tmp_path, {"executors": [{"tasks": ["train"], "executor": {"path": "trainer_h11.Broken"}}]}).start()

    (ready,) = played.desk.of(say.Ready)

    assert ready.failure.code == "SD-1113"
    assert "ValueError: no data here (custom/trainer_h11.py:" in ready.failure.what
    assert ready.failure.site == "site-1"
    played.job.on(say.Finished(), b"")
    assert played.job.is_done


def test_metrics_are_said_as_they_grow(played: Played) -> None:
    played.task()

    (grew,) = played.desk.of(Grew)
    assert (grew.site, grew.stream, grew.size) == ("site-1", "metrics.jsonl", (played.folder / "metrics.jsonl").stat().st_size)


# --- stopping ---


def test_an_abort_of_another_task_does_not_stop_this_one(played: Played) -> None:
    def act(task: Any, ctx: Any) -> None:
        played.job.on_arrival(say.Abort("not you", "t7"))
        ctx.abort.check()

    played.trainer.act = act

    assert played.task().failure is None


@pytest.mark.parametrize("task_id", ["t0", ""], ids=["this task", "the run"])
def test_an_abort_is_seen_by_the_task_in_hand(played: Played, task_id: str) -> None:
    """T137: it arrives beside the main thread, while the trainer works."""

    def act(task: Any, ctx: Any) -> None:
        played.job.on_arrival(say.Abort("too slow", task_id))
        assert ctx.abort
        ctx.abort.check()

    played.trainer.act = act

    answer = played.task()

    assert (answer.failure.code, answer.failure.what) == ("SD-4001", "too slow")


def test_one_that_is_ended_by_a_signal_tells_why_it_was(played: Played) -> None:
    def act(task: Any, ctx: Any) -> None:
        played.job.on_arrival(say.Abort("too slow", "t0"))
        raise RunAborted("SIGTERM")

    played.trainer.act = act

    assert played.task().failure.what == "too slow"


@pytest.mark.parametrize("message", [say.Finished(), say.Abort("by alice")], ids=["finished", "aborted"])
def test_at_the_end_of_the_run_executors_tidy_up_once(played: Played, message: Any) -> None:
    """T137: also when the run is aborted."""
    played.task()

    played.job.on_arrival(message)
    played.job.on(message, b"")

    assert played.job.is_done
    assert played.trainer.trace[-2:] == ["train sag 0 site-1 None", "stop"]


def test_an_executor_that_did_nothing_has_nothing_to_tidy_up_and_one_that_raises_is_only_logged(tmp_path: Path) -> None:
    idle, bad = Played(tmp_path / "a").start(), Played(tmp_path / "b").start()
    bad.task()
    bad.trainer.act = "stop badly"

    for played in (idle, bad):
        played.job.on(say.Finished(), b"")

    assert idle.trainer.trace == []
    assert bad.job.is_done


def test_a_checkpoint_goes_out_in_the_middle_of_a_task(played: Played) -> None:
    played.trainer.act = lambda _, ctx: ctx.checkpoint(Shareable("MODEL", {"s": np.ones(2)}))

    played.task()

    assert [message.task_id for message in played.desk.of(say.Checkpoint)] == ["t0"]
    kinds = [type(message).__name__ for message, _ in played.desk.said]
    assert kinds.index("Checkpoint") < kinds.index("ResultFor")


# --- a script that owns its loop ---

SCRIPT = """
import sundog

with sundog.site() as site:
    for task in site.tasks():
        site.send({name: array + 2 for name, array in task.model.tensors.items()}, num_examples=3)
"""


def driven(folder: Path, script: str) -> Played:
    config = {"executors": [{"tasks": ["train"], "executor": {"name": "ScriptExecutor", "args": {"script": "train_h11.py"}}}]}
    return Played(folder, config, may_drive=True, custom=script)


def test_a_script_keeps_the_thread_and_pulls_its_tasks(tmp_path: Path) -> None:
    """T177, in the job process."""
    played = driven(tmp_path, SCRIPT)
    for step in (0, 1):
        message, body = played.message(step, SMALL, "train", None, {})
        played.desk.mailbox.post(lambda message=message, body=body: played.job.on(message, body))  # type: ignore[misc]
    played.desk.mailbox.post(lambda: played.job.on(say.Finished(), b""))

    played.start()

    assert [(answer.task_id, answer.failure) for answer in played.desk.of(say.ResultFor)] == [("t0", None), ("t1", None)]
    assert played.result().tensors["w"].tolist() == [2, 2]
    assert played.job.is_done


def test_what_a_script_does_to_its_arrays_after_it_has_sent_changes_neither_weights_nor_state(tmp_path: Path) -> None:
    """The simulator, where it goes on to its next task first, gave another model than a process of its own."""
    script = """
import numpy as np
import sundog

state = {"m": np.ones(2)}
with sundog.site() as site:
    for task in site.tasks():
        site.state = state
        site.send({"w": state["m"]})
        state["m"] += 40
"""
    config = {"executors": [{"tasks": ["train"], "executor": {"name": "ScriptExecutor", "args": {"script": "train_h11.py"}}}]}
    played = Played(tmp_path, config, custom=script).start()

    played.task()

    assert (played.result().tensors["w"].tolist(), played.state().tensors["m"].tolist()) == ([1, 1], [1, 1])
    played.job.on(say.Finished(), b"")


def test_a_script_that_raises_between_tasks_ends_this_sites_part(tmp_path: Path) -> None:
    played = driven(tmp_path, "raise ValueError('no GPU')").start()

    ready, failed = played.desk.of(say.Ready)

    assert ready.failure is None
    assert (failed.failure.what, failed.failure.where) == ("ValueError: no GPU", "custom/train_h11.py:1")


def test_a_script_that_raises_at_a_task_fails_it_with_its_line(tmp_path: Path) -> None:
    played = driven(tmp_path, SCRIPT.replace("site.send(", "raise ValueError('boom')\n        site.send("))
    message, body = played.message(0, SMALL, "train", None, {})
    played.desk.mailbox.post(lambda: played.job.on(message, body))

    played.start()

    (answer,) = played.desk.of(say.ResultFor)
    assert (answer.failure.what, answer.failure.where) == ("ValueError: boom", "custom/train_h11.py:6")


@pytest.mark.parametrize(
    ("old", "new", "got", "method"),
    [
        ('return Shareable("WEIGHTS", weights, {"draw": random.random()})', "", "None", "Trainer.execute"),
        ('return Shareable("WEIGHTS", weights, {"draw": random.random()})', "return weights", "a dict", "Trainer.execute"),
        ("return shareable.replace", "shareable.replace", "None", "Mark.process"),
    ],
    ids=["no return", "arrays alone", "a filter"],
)
def test_what_is_no_shareable_is_told_with_the_method_that_gave_it(tmp_path: Path, old: str, new: str, got: str, method: str) -> None:
    """A forgotten `return` sends its writer to the method, not into our code."""
    answer = Played(tmp_path, custom=TRAINER.replace(old, new)).start().task()

    assert (answer.failure.code, answer.failure.what) == ("SD-3004", f"wanted a Shareable, got {got}")
    assert answer.failure.where == f"trainer_h11.{method}"
